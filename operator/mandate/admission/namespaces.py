"""Point 4, for namespaces: enrolment is guarded."""

from __future__ import annotations

from mandate.admission.policy import ENROLLED, Actors, Binding, Match, Policy, Rule, words
from mandate.api.names import GROUP, LABEL_ENFORCE


def policies(actors: Actors) -> tuple[Policy, ...]:
    """The label that enrols a namespace."""
    never = (actors.operator_namespace, "kube-system")
    return (
        Policy(
            name="namespaces",
            point=4,
            why=f"""Changing {LABEL_ENFORCE} takes the verb enrol on namespaces.{GROUP}; everything else on a namespace
            stays free. Sub-resources are covered, since labels can be changed through them too.""",
            matches=(
                Match(
                    group="",
                    versions=("v1",),
                    resources=("namespaces", "namespaces/status", "namespaces/finalize"),
                    operations=("CREATE", "UPDATE"),
                ),
            ),
            variables={
                "now": f"object.metadata.?labels[?'{LABEL_ENFORCE}'].orValue('')",
                "was": f"oldObject == null ? '' : oldObject.metadata.?labels[?'{LABEL_ENFORCE}'].orValue('')",
            },
            rules=(
                Rule(
                    holds=f"""
                        variables.now == variables.was ||
                        authorizer.group('{GROUP}').resource('namespaces').check('enrol').allowed()
                    """,
                    says=f"""
                        request.userInfo.username + ' may not change {LABEL_ENFORCE} of namespace ' +
                        object.metadata.name + ' from "' + variables.was + '" to "' + variables.now +
                        '": it takes the verb enrol on namespaces.{GROUP}'
                    """,
                ),
                Rule(
                    holds=f"variables.now == variables.was || variables.now in {words(('', *ENROLLED))}",
                    says=f"""
                        '{LABEL_ENFORCE} is "' + variables.now + '"; expected {" or ".join(ENROLLED)}, or no such label'
                    """,
                ),
                Rule(
                    holds=f"""
                        variables.now == variables.was || variables.now == '' ||
                          !(object.metadata.name in {words(never)})
                    """,
                    says="""
                        'namespace ' + object.metadata.name +
                        ' can\\'t be enrolled: the cluster and the operator would wait for themselves'
                    """,
                ),
            ),
            bindings=(Binding(),),
        ),
    )
