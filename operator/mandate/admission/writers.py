"""Point 4: who may say so. Status, grants, evidence and evaluations are the operator's word."""

from __future__ import annotations

from mandate.admission.fragments import OURS, not_operator, same_content, same_entries
from mandate.admission.pods import EVALUATION_JOB_PREFIX
from mandate.admission.policy import Actors, Binding, Match, Policy, Rule
from mandate.admission.services import ROUTES, made_by_kserve
from mandate.api.names import GROUP, LABEL_BATCH, LABEL_MODEL, LABEL_RECORD


def policies(actors: Actors) -> tuple[Policy, ...]:
    """Everything that only the operator's service account writes, and who may declare a model."""
    foreign = not_operator(actors)
    kinds = Policy(
        name="writers",
        point=4,
        why="""Status, grants and evaluations are what the operator found out. Nobody else writes them; others may still
        remove finalizers and owner references.""",
        matches=(
            Match(
                group=GROUP,
                resources=("autonomygrants", "modelevaluations"),
                operations=("CREATE", "UPDATE"),
            ),
            Match(group=GROUP, resources=("*/status",), operations=("UPDATE",)),
        ),
        only_when=foreign,
        rules=(
            Rule(
                holds="request.?subResource.orValue('') != 'status' || dyn(object).?status == dyn(oldObject).?status",
                says="""
                    request.userInfo.username + ' may not write the status of ' + request.resource.resource + ': ' +
                    'it is what the operator found out'
                """,
            ),
            Rule(
                holds=f"request.?subResource.orValue('') == 'status' || (oldObject != null &&\n{same_content()})",
                says="""
                    request.userInfo.username + ' may not write ' + request.resource.resource + ': ' +
                    'only the operator grants and evaluates; declare it in a ModelDeployment'
                """,
            ),
        ),
        bindings=(Binding(),),
    )
    objects = Policy(
        name="owned",
        point=4,
        why=f"""Objects that carry {LABEL_MODEL} or {LABEL_RECORD} are the operator's: evidence, ledgers, revisions,
        PodTemplates, Services, routes and the policy beside them, InferenceServices, evaluation Jobs and network
        policies. Others may still remove finalizers and owner references.""",
        matches=(
            Match(
                group="",
                versions=("v1",),
                resources=(*_with_status("services", "configmaps"), "podtemplates"),
                operations=("CREATE", "UPDATE"),
            ),
            Match(group="batch", resources=_with_status("jobs"), operations=("CREATE", "UPDATE")),
            Match(group="apps", resources=("controllerrevisions",), operations=("CREATE", "UPDATE")),
            Match(
                group="networking.k8s.io",
                resources=_with_status("networkpolicies", "ingresses"),
                operations=("CREATE", "UPDATE"),
            ),
            Match(group="gateway.networking.k8s.io", resources=_with_status(*ROUTES), operations=("CREATE", "UPDATE")),
            # Its status is the gateway's, as a route's is.
            Match(
                group="gateway.envoyproxy.io",
                resources=_with_status("backendtrafficpolicies"),
                operations=("CREATE", "UPDATE"),
            ),
            Match(group="serving.kserve.io", resources=("inferenceservices",), operations=("CREATE", "UPDATE")),
        ),
        only_when=foreign
        | {
            # KServe copies an InferenceService's labels to the Service that it makes.
            "not-a-service-of-kserve": f"""
                request.resource.resource != 'services' || !{made_by_kserve("object")}
            """
        },
        rules=(
            Rule(
                holds=f"oldObject != null &&\n{same_content()}",
                says=f"""
                    request.userInfo.username + ' may not write ' + request.resource.resource + ' ' +
                    object.metadata.name + ': what carries {LABEL_MODEL} or {LABEL_RECORD} is the operator\\'s'
                """,
            ),
        ),
        bindings=(
            Binding(suffix=".models", labelled=LABEL_MODEL),
            Binding(suffix=".records", labelled=LABEL_RECORD),
        ),
    )
    jobs = Policy(
        name="evaluation-jobs",
        point=4,
        why=f"""Only the operator writes Jobs named {EVALUATION_JOB_PREFIX}* or whose Pods would carry our labels: what
        comes out of them is evidence. Jobs that score batches ({LABEL_BATCH}) are anybody's, and their Pods held to the
        grant.""",
        matches=(Match(group="batch", resources=("jobs",), operations=("CREATE", "UPDATE")),),
        only_when=foreign
        | {
            "evaluation-job": f"""
                object.metadata.name.startsWith('{EVALUATION_JOB_PREFIX}') ||
                object.spec.template.metadata.?labels.orValue({{}}).exists(l, l.startsWith('{OURS}') &&
                  (l != '{LABEL_BATCH}' && (l != '{LABEL_MODEL}' ||
                    !('{LABEL_BATCH}' in object.spec.template.metadata.labels))))
            """
        },
        rules=(
            Rule(
                holds=f"oldObject != null && object.spec == oldObject.spec &&\n{same_entries('labels')}",
                says="""
                    request.userInfo.username + ' may not write evaluation Job ' + object.metadata.name +
                    ': evaluations are the operator\\'s; change the ModelDeployment, or ask again with the ' +
                    'annotation mandate.dev/retry'
                """,
            ),
        ),
        bindings=(Binding(),),
    )
    deletions = Policy(
        name="evidence-deletion",
        point=4,
        why="""Evidence outlives its model. Deleting it takes the right to delete ModelEvaluations in the whole cluster,
        which Kubernetes' own namespace and garbage controllers have, so no namespace hangs.""",
        matches=(Match(group=GROUP, resources=("modelevaluations", "autonomygrants"), operations=("DELETE",)),),
        only_when=foreign,
        rules=(_MAY_DELETE,),
        bindings=(Binding(),),
    )
    records = Policy(
        name="record-deletion",
        point=4,
        why="As evidence-deletion, for the ConfigMaps and ControllerRevisions that hold the evidence.",
        matches=(
            Match(group="", versions=("v1",), resources=("configmaps",), operations=("DELETE",)),
            Match(group="apps", resources=("controllerrevisions",), operations=("DELETE",)),
        ),
        only_when=foreign,
        rules=(_MAY_DELETE,),
        bindings=(Binding(labelled=LABEL_RECORD),),
    )
    authors = Policy(
        name="model-authors",
        point=4,
        why="""The operator runs what a ModelDeployment declares, so declaring takes the right to create Pods in that
        namespace: it lends nobody new powers.""",
        matches=(Match(group=GROUP, resources=("modeldeployments",), operations=("CREATE", "UPDATE")),),
        rules=(
            Rule(
                holds="""
                    (oldObject != null && object.spec == oldObject.spec) ||
                    authorizer.group('').resource('pods').namespace(request.namespace).check('create').allowed()
                """,
                says="""
                    request.userInfo.username + ' may not declare models in ' + request.namespace +
                    ': it takes the right to create Pods there, since the operator would create them'
                """,
            ),
        ),
        bindings=(Binding(),),
    )
    return kinds, objects, jobs, deletions, records, authors


_MAY_DELETE = Rule(
    holds=f"authorizer.group('{GROUP}').resource('modelevaluations').check('delete').allowed()",
    says="""
        request.userInfo.username + ' may not delete ' + request.resource.resource + ' ' + request.name +
        ': evidence outlives its model; it takes the right to delete modelevaluations in the whole cluster'
    """,
)


def _with_status(*resources: str) -> tuple[str, ...]:
    """Each resource and its status, through which labels can be changed too."""
    return tuple(name for resource in resources for name in (resource, f"{resource}/status"))
