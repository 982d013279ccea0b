"""Named errors, and which peer tests must see each."""

from __future__ import annotations

from dataclasses import dataclass

VALUES, VARIANCES = "tests/peers/test_values.py", "tests/peers/test_variances.py"
BASELINES, PUBLISHED, TRAPS = (f"tests/peers/test_{name}.py" for name in ("baselines", "published", "traps"))
FACTS, ANYTIME, COVERAGE = (f"tests/peers/test_{name}.py" for name in ("facts", "anytime", "coverage"))
COUNTS = f"{VALUES}::test_counts_of_a_binary_model"
INFLUENCE = f"{VARIANCES}::test_influence_is_the_derivative"
METRICS, UNCERTAINTY = "measure/metrics.py", "measure/uncertainty.py"


@dataclass(frozen=True)
class Mutation:
    """In `file` (below operator/mandate) replace each first text by the second; all of `tests` must fail.

    A test is a pytest node, or a function with all its parameters. `metrics` are catalogue names that the failures
    must name.
    """

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]
    metrics: tuple[str, ...] = ()


def mutation(
    name: str, file: str, old: str, new: str, *tests: str, metrics: tuple[str, ...] = (), also: tuple[str, str] = ()
) -> Mutation:
    """A mutation of one piece of text, or of two where either alone is caught by the other's rule (`also`)."""
    return Mutation(name, file, ((old, new), also) if also else ((old, new),), tests, metrics)


def influences(kind: str, *names: str) -> tuple[str, ...]:
    """The tests of these metrics' influence values."""
    return tuple(f"{INFLUENCE}_{kind}[{name}]" for name in names)


MUTATIONS = (
    # The values of the metrics
    mutation(
        "wrong answers for right ones",
        METRICS,
        "hit = _labels(sample) == sample.actual",
        "hit = _labels(sample) != sample.actual",
        COUNTS,
        metrics=("accuracy",),
    ),
    mutation(
        "recall over predicted instead of actual positives",
        METRICS,
        '_proportion(label, actual, unit="positives"',
        '_proportion(actual, label, unit="positives"',
        COUNTS,
        metrics=("recall",),
    ),
    mutation(
        "precision over actual instead of predicted positives",
        METRICS,
        '        actual, label, unit="rows", empty="no row was predicted',
        '        label, actual, unit="rows", empty="no row was predicted',
        COUNTS,
        metrics=("precision",),
    ),
    mutation(
        "F1 without its factor 2",
        METRICS,
        "both = 2.0 * (actual & label)",
        "both = 1.0 * (actual & label)",
        COUNTS,
        metrics=("f1",),
    ),
    mutation(
        "the Jaccard index for F1",
        METRICS,
        "both = 2.0 * (actual & label)\n    size = actual.astype(np.float64) + label",
        "both = 1.0 * (actual & label)\n    size = (actual | label).astype(np.float64)",
        f"{VALUES}::test_scikit_learn_agrees_wherever_it_has_the_metric",
        metrics=("f1",),
    ),
    mutation(
        "false positives among all rows",
        METRICS,
        "        _labels(sample),\n        ~sample.actual,",
        "        _labels(sample),\n        ~sample.actual | True,",
        COUNTS,
        metrics=("false_positive_rate",),
    ),
    mutation(
        "true positives only among the selected",
        METRICS,
        "return _proportion(label, np.ones(len(label)",
        "return _proportion(label & sample.actual, np.ones(len(label)",
        COUNTS,
        metrics=("selection_rate",),
    ),
    mutation(
        "balanced accuracy twice over the positives",
        METRICS,
        "_class_recall(~sample.actual, ~label))",
        "_class_recall(sample.actual, label))",
        COUNTS,
        metrics=("balanced_accuracy",),
    ),
    mutation(
        "classes weighted by their last one",
        METRICS,
        "value=float(np.mean([point.value for point in points]))",
        "value=float(points[-1].value)",
        f"{VALUES}::test_counts_of_a_multiclass_model_are_plain_means_over_classes",
    ),
    mutation(
        "ties count whole",
        METRICS,
        "(np.cumsum(misses) - misses / 2)[place]",
        "np.cumsum(misses)[place]",
        f"{VALUES}::test_roc_auc_is_the_share_of_pairs_in_order_ties_counting_half[True]",
    ),
    mutation(
        "AUC over the negatives' number",
        METRICS,
        "value = float(np.sum(below, where=sample.actual)) / positives",
        "value = float(np.sum(below, where=sample.actual)) / negatives",
        f"{VALUES}::test_roc_auc_is_the_share_of_pairs_in_order_ties_counting_half",
        metrics=("roc_auc",),
    ),
    mutation(
        "precision strictly above the threshold",
        METRICS,
        "at_least = np.cumsum(weight[::-1])[::-1]",
        "at_least = np.cumsum(weight[::-1])[::-1] - weight + 1",
        f"{VALUES}::test_average_precision_sums_recall_steps_times_precision[True]",
    ),
    mutation(
        "thresholds from below",
        METRICS,
        "hits_at_least = np.cumsum(hits[::-1])[::-1]",
        "hits_at_least = np.cumsum(hits)",
        f"{VALUES}::test_average_precision_sums_recall_steps_times_precision",
        metrics=("average_precision",),
    ),
    mutation(
        "log loss of the negatives' answers",
        METRICS,
        "given = np.where(sample.actual, score, 1.0 - score)",
        "given = np.where(sample.actual, score, score)",
        f"{VALUES}::test_losses_of_a_binary_model",
        metrics=("log_loss",),
    ),
    mutation(
        "log loss of the likeliest class",
        METRICS,
        "given = score[np.arange(len(sample)), sample.actual]",
        "given = score.max(axis=1)",
        f"{VALUES}::test_log_loss_of_several_classes",
        metrics=("log_loss",),
    ),
    mutation(
        "probabilities clipped at 1e-15",
        METRICS,
        "np.clip(given, TINY, 1.0 - TINY)",
        "np.clip(given, 1e-15, 1.0 - 1e-15)",
        f"{VALUES}::test_log_loss_of_a_certain_and_wrong_answer_is_scikit_learns",
        metrics=("log_loss",),
    ),
    mutation(
        "Brier score without the square",
        METRICS,
        "(_scores(sample) - sample.actual) ** 2, events",
        "np.abs(_scores(sample) - sample.actual), events",
        f"{VALUES}::test_losses_of_a_binary_model",
        metrics=("brier_score",),
    ),
    mutation(
        "expected / observed",
        METRICS,
        "value = positives / len(sample) / expected",
        "value = expected / (positives / len(sample))",
        f"{VALUES}::test_losses_of_a_binary_model",
        metrics=("observed_expected",),
    ),
    mutation(
        "calibration intercept for slope",
        METRICS,
        "value=float(beta[1])",
        "value=float(beta[0])",
        f"{VALUES}::test_calibration_slope_is_statsmodels",
        metrics=("calibration_slope",),
    ),
    mutation(
        "errors of either sign cancel",
        METRICS,
        "_mean(np.abs(_errors(sample)), ",
        "_mean(_errors(sample), ",
        f"{VALUES}::test_errors_of_a_regression",
        metrics=("mean_absolute_error",),
    ),
    mutation(
        "RMSE without the root",
        METRICS,
        "value = float(np.sqrt(np.mean(squares)))",
        "value = float(np.mean(squares))",
        f"{VALUES}::test_errors_of_a_regression",
        metrics=("root_mean_squared_error",),
    ),
    mutation(
        "R² around zero",
        METRICS,
        "spread = (sample.actual - np.mean(sample.actual)) ** 2",
        "spread = sample.actual**2",
        f"{VALUES}::test_errors_of_a_regression",
        metrics=("r2",),
    ),
    mutation(
        "actual minus prediction",
        METRICS,
        "np.asarray(_scores(sample) - sample.actual",
        "np.asarray(sample.actual - _scores(sample)",
        f"{VALUES}::test_errors_of_a_regression",
        metrics=("bias",),
    ),
    # What is counted or timed
    mutation(
        "finite answers of all parts together",
        "measure/engine.py",
        "float(np.mean(self.mine.finite[rows]))",
        "float(np.mean(self.mine.finite))",
        f"{FACTS}::test_facts_of_a_run_are_counted",
        metrics=("finite_answers",),
    ),
    mutation(
        "training rows that are in the test, for the other way round",
        "measure/split.py",
        "np.isin(self.keys[self.rows(other)], self.keys[self.rows(one)])",
        "np.isin(self.keys[self.rows(one)], self.keys[self.rows(other)])",
        f"{FACTS}::test_facts_of_a_run_are_counted",
        metrics=("shared_rows",),
    ),
    mutation(
        "the next larger latency",
        "inference/latency.py",
        "everything[math.ceil(count * share) - 1]",
        "everything[math.ceil(count * share)]",
        f"{FACTS}::test_latency_is_numpys_quantile_without_interpolation",
        metrics=("latency_p50", "latency_p95", "latency_p99"),
    ),
    mutation(
        "the worst load's crashes for all",
        "evaluate/service.py",
        "_crashes(sum(seen.crashes for seen in loads.values())",
        "_crashes(max(seen.crashes for seen in loads.values())",
        f"{FACTS}::test_crashes_are_counted_by_load_and_together",
        metrics=("crashes",),
    ),
    # Variances, covariances, influence values
    mutation(
        "AUC's negatives forgotten in its variance",
        METRICS,
        "(above - value) * (rows / negatives))",
        "0.0 * (above - value))",
        f"{VARIANCES}::test_auc_has_delongs_variance",
        *influences("binary", "roc_auc"),
    ),
    mutation(
        "n instead of n - 1",
        UNCERTAINTY,
        "np.divide(sizes, sizes - 1,",
        "np.divide(sizes, sizes,",
        f"{VARIANCES}::test_means_have_the_usual_standard_error",
    ),
    mutation(
        "rows instead of clusters",
        UNCERTAINTY,
        "    if clusters is not None:\n        sums",
        "    if False:\n        sums",
        f"{VARIANCES}::test_clustered_errors_are_statsmodels",
    ),
    mutation(
        "clusters without C / (C - 1)",
        UNCERTAINTY,
        "sums * math.sqrt(found / (found - 1))",
        "sums * math.sqrt(found / found)",
        f"{VARIANCES}::test_clustered_errors_are_statsmodels",
    ),
    mutation(
        "pairs taken for independent",
        UNCERTAINTY,
        "cov = float(u.units @ v.units)",
        "cov = 0.0 * float(u.units @ v.units)",
        f"{VARIANCES}::test_two_aucs_on_the_same_rows_have_delongs_covariance",
    ),
    mutation(
        "log error not divided by the value",
        UNCERTAINTY,
        "on_link, slope, bend = math.log(centre), 1.0 / centre,",
        "on_link, slope, bend = math.log(centre), 1.0,",
        f"{VARIANCES}::test_a_log_link_divides_the_error_by_the_value",
    ),
    mutation(
        "logit error not divided by v (1 - v)",
        UNCERTAINTY,
        "on_link, slope, bend = math.log(centre / (1.0 - centre)), 1.0 / within",
        "on_link, slope, bend = math.log(centre / (1.0 - centre)), 1.0 / centre",
        f"{VARIANCES}::test_a_logit_link_divides_the_error_by_v_times_1_minus_v",
    ),
    mutation(
        "R²'s error multiplied by what is left",
        UNCERTAINTY,
        "-math.log1p(-centre), 1.0 / (1.0 - centre), 0.0",
        "-math.log1p(-centre), 1.0 - centre, 0.0",
        f"{VARIANCES}::test_r2_is_student_on_the_log_of_what_is_left",
    ),
    mutation(
        "counts with a success and a failure added",
        UNCERTAINTY,
        "return Beta(successes=successes, trials=trials)",
        "return Beta(successes=successes + 1, trials=trials + 2)",
        f"{VARIANCES}::test_proportions_are_counts",
    ),
    mutation(
        "effective counts without the clusters' degrees of freedom",
        UNCERTAINTY,
        "/ spread.variance * float(adjust))",
        "/ spread.variance)",
        f"{VARIANCES}::test_effective_counts_are_korn_and_graubards",
    ),
    mutation(
        "the calibration model's own variance, as if it were true",
        METRICS,
        "residual = (sample.actual - fitted)[:, None] * design",
        "residual = np.sqrt(fitted * (1.0 - fitted))[:, None] * design",
        f"{VARIANCES}::test_calibration_slope_has_the_sandwich_variance",
    ),
    mutation(
        "a share's influence not centred",
        METRICS,
        "np.where(among, hit - value, 0.0)",
        "np.where(among, hit, 0.0)",
        *influences("binary", "accuracy", "balanced_accuracy", "precision", "recall"),
        *influences("binary", "false_positive_rate", "selection_rate"),
        *influences("multiclass", "accuracy", "balanced_accuracy", "precision", "recall"),
    ),
    mutation(
        "F1's influence as if it were 1",
        METRICS,
        "psi=(both - value * size)",
        "psi=(both - size)",
        *influences("binary", "f1"),
        *influences("multiclass", "f1"),
    ),
    mutation(
        "a mean's influence not centred",
        METRICS,
        "psi=values - value,",
        "psi=values,",
        *influences("binary", "log_loss", "brier_score"),
        *influences("multiclass", "log_loss"),
        *influences("regression", "mean_absolute_error", "bias"),
    ),
    mutation(
        "average precision's influence without what a row does to others' ranks",
        METRICS,
        "+ gain[place]) - loss[place])",
        "))",
        *influences("binary", "average_precision"),
    ),
    mutation(
        "the expected number taken for known",
        METRICS,
        "psi=(sample.actual - value * score) / expected",
        "psi=(sample.actual - np.mean(sample.actual)) / expected",
        *influences("binary", "observed_expected"),
    ),
    mutation(
        "the root's derivative without its 2",
        METRICS,
        "psi=(squares - value**2) / (2 * value)",
        "psi=(squares - value**2) / value",
        *influences("regression", "root_mean_squared_error"),
    ),
    mutation(
        "the target's spread taken for known",
        METRICS,
        "psi=-(squares - share * spread) / total",
        "psi=-(squares - np.mean(squares)) / total",
        *influences("regression", "r2"),
    ),
    mutation(
        "degrees of freedom without their 2",
        UNCERTAINTY,
        "2.0 / fourth if fourth > 0",
        "1.0 / fourth if fourth > 0",
        f"{VARIANCES}::test_degrees_of_freedom_of_normal_rows_are_about_n",
        f"{VARIANCES}::test_degrees_of_freedom_of_rare_events_are_about_twice_their_number",
    ),
    # Baselines
    mutation(
        "twice the penalty",
        "measure/baselines.py",
        "penalty = penalised * weights",
        "penalty = 2.0 * penalised * weights",
        f"{BASELINES}::test_binary",
        f"{BASELINES}::test_multiclass",
    ),
    mutation(
        "twice the penalty of a regression",
        "measure/baselines.py",
        "+ np.eye(centred.shape[1])",
        "+ 2.0 * np.eye(centred.shape[1])",
        f"{BASELINES}::test_regression",
    ),
    mutation(
        "columns scaled by all rows",
        "measure/baselines.py",
        "seen = values[train & known]",
        "seen = values[known]",
        f"{BASELINES}::test_nothing_is_learnt_from_rows_that_do_not_train",
    ),
    mutation(
        "categories of all rows",
        "measure/baselines.py",
        "counts = np.bincount(code[train], minlength=len(names))",
        "counts = np.bincount(code, minlength=len(names))",
        f"{BASELINES}::test_an_unseen_category_is_all_zeros_and_a_constant_column_is_left_out",
    ),
    mutation(
        "the prior of all rows",
        "measure/baselines.py",
        "float(np.mean(actual[train])))",
        "float(np.mean(actual)))",
        f"{BASELINES}::test_simple_baselines_come_from_the_training_rows",
    ),
    # What others published
    mutation(
        "the largest difference from the mean, for that of two groups",
        "measure/engine.py",
        "max(values) - min(values),",
        "max(values) - float(np.mean(values)),",
        f"{PUBLISHED}::test_fairlearns_user_guide",
    ),
    mutation(
        "every row an event",
        METRICS,
        'events=min(successes, trials - successes) if unit == "rows" else trials',
        "events=trials",
        f"{PUBLISHED}::test_scikit_learns_digits_example",
    ),
    mutation(
        "Jeffreys' limit for Clopper and Pearson's",
        "verdict/limits.py",
        "betaincinv(k, n - k + 1, alpha)",
        "betaincinv(k + 0.5, n - k + 0.5, alpha)",
        f"{PUBLISHED}::test_clopper_and_pearson_for_8_of_10",
    ),
    # Traps
    mutation(
        "AUC rests on all rows",
        METRICS,
        "psi=psi,\n        stratum=sample.actual.astype(np.intp),\n        events=min(positives, negatives),",
        "psi=psi,\n        stratum=sample.actual.astype(np.intp),\n        events=len(sample),",
        f"{TRAPS}::test_auc_1_on_five_positives_has_no_interval",
    ),
    mutation(
        "a perfect score is a share of its events",
        UNCERTAINTY,
        "    if not low < value < high:\n        return _no_variance(point)",
        "    if not low < value < high:\n        return Beta(successes=value * point.events, trials=point.events)",
        f"{TRAPS}::test_auc_1_on_many_positives_has_no_interval_either",
    ),
    mutation(
        "few events and few degrees of freedom will do",
        UNCERTAINTY,
        "MIN_MINORITY = 20",
        "MIN_MINORITY = 2",
        f"{TRAPS}::test_ten_positives_at_auc_97_have_no_interval",
        also=("    if degrees >= needed:", "    if degrees > 0:"),
    ),
    mutation(
        "counts of rows although they come in clusters",
        UNCERTAINTY,
        "    if clusters is None:\n        return Beta",
        "    if True:\n        return Beta",
        f"{TRAPS}::test_clusters_of_ten_with_icc_0_2",
    ),
    mutation(
        "20 clusters are enough",
        UNCERTAINTY,
        "MIN_CLUSTERS = 30",
        "MIN_CLUSTERS = 20",
        f"{TRAPS}::test_fewer_than_30_clusters_have_no_interval",
    ),
    mutation(
        "clusters without variation count as their rows",
        UNCERTAINTY,
        "return Beta(successes=point.value * found, trials=found)",
        "return Beta(successes=successes * 1.0, trials=trials * 1.0)",
        f"{TRAPS}::test_clusters_without_variation_count_as_one_row_each",
    ),
    mutation(
        "the same answers taken for independent ones",
        UNCERTAINTY,
        "        return _no_variance(a)\n    degrees = difference.degrees()",
        "        return Paired(a=a.value, b=b.value, var_a=u.variance, var_b=v.variance, cov=0.0, df=u.freedom)\n"
        "    degrees = difference.degrees()",
        f"{TRAPS}::test_identical_models_have_no_interval",
    ),
    mutation(
        "one label may decide",
        UNCERTAINTY,
        "        if found < MIN_STEPS:",
        "        if found < 1:",
        f"{TRAPS}::test_models_that_differ_on_a_few_rows_have_no_interval",
    ),
    mutation(
        "a reference of zero is smoothed",
        UNCERTAINTY,
        "return Paired(a=a.value, b=b.value, var_a",
        "return Paired(a=a.value, b=max(b.value, 1.0 / len(b.psi)), var_a",
        f"{TRAPS}::test_a_reference_of_zero_is_kept_as_zero",
    ),
    mutation(
        "the larger class's labels decide",
        METRICS,
        "step=max(sides[0].step, sides[1].step) / 2",
        "step=min(sides[0].step, sides[1].step) / 2",
        f"{TRAPS}::test_perfect_answers_of_a_small_class_do_not_hide_its_uncertainty",
    ),
    mutation(
        "degrees of freedom as if rows were normal",
        UNCERTAINTY,
        "return min(self.degrees_of_variance(), 2.0 / (3.0 * bend) if bend > 0 else math.inf)",
        "return float(self.freedom)",
        f"{TRAPS}::test_rmse_with_t3_residuals_does_not_pass_wrongly",
    ),
    mutation(
        "half the standard error",
        UNCERTAINTY,
        "se=error * slope",
        "se=0.5 * error * slope",
        f"{TRAPS}::test_six_groups_of_33_without_a_gap_show_one_of_0_2_but_no_fail",
        f"{TRAPS}::test_a_gap_of_0_25_rarely_passes_a_limit_of_0_25",
    ),
    mutation(
        "twice the covariance",
        UNCERTAINTY,
        "cov = float(u.units @ v.units)",
        "cov = 2.0 * float(u.units @ v.units)",
        f"{TRAPS}::test_contrasts_of_pairs_pass_no_more_often_than_they_may",
    ),
    # The simulations
    mutation(
        "no number ever has an interval",
        UNCERTAINTY,
        "MIN_MINORITY = 20",
        "MIN_MINORITY = 2000",
        f"{COVERAGE}::test_some_cells_do_have_intervals",
    ),
    mutation(
        "anytime limits at twice their level",
        "verdict/anytime.py",
        "enough = -math.log(alpha)\n    if",
        "enough = -math.log(2 * alpha)\n    if",
        f"{ANYTIME}::test_critical_sums_are_where_the_limits_change_sides",
    ),
    mutation(
        "the nearer of the farthest rows decides",
        "verdict/anytime.py",
        "max(greatest - mean, mean - least)",
        "min(greatest - mean, mean - least)",
        f"{ANYTIME}::test_simulated_paths_and_limits_agree",
    ),
)
