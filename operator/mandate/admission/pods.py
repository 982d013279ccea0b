"""Points 1 and 2: which Pods may run, and what stays true of them."""

from __future__ import annotations

from mandate.admission.fragments import LABELS, OLD_LABELS, OURS, kube_controller, same_entries
from mandate.admission.policy import ENROLLED, Binding, Match, Policy, Rule, words
from mandate.admission.template import CONTAINER_FIELDS_NOT_COMPARED, POD_FIELDS_NOT_COMPARED
from mandate.api.criteria import LEVELS
from mandate.api.names import (
    GROUP,
    LABEL_BATCH,
    LABEL_ENFORCE,
    LABEL_EVALUATION,
    LABEL_MODEL,
    LABEL_REVISION,
    LABEL_SERVES,
)

EVALUATION_JOB_PREFIX = "mandate-eval-"
"""Names of evaluation Jobs, and so of their Pods, begin with it."""

JOB_LABELS = ("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name")
"""What the API server adds to the Pod template of a Job."""

TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105

ROLLOUTS_HASH = "rollouts-pod-template-hash"
"""The label by which Argo Rollouts tells the Pods of one template from those of another."""

_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
_NAMED = f"'(-suggest|-shadow)?-{_SAFE}{{1,10}}-?{_SAFE}{{5}}$'"
"""CEL: how names of Pods go on behind their model's, where their workload is named as its PodTemplate: in the letters
that ReplicaSets and Rollouts draw from; where the name is long, Kubernetes cuts off the dash between."""

_VARIABLES = {
    "labels": LABELS,
    "managed": f"'{LABEL_MODEL}' in variables.labels",
    "revision": f"variables.labels[?'{LABEL_REVISION}'].orValue('')",
    "evaluation": f"variables.labels[?'{LABEL_EVALUATION}'].orValue('')",
    "batch": f"variables.labels[?'{LABEL_BATCH}'].orValue('')",
    "model": f"variables.labels[?'{LABEL_MODEL}'].orValue('')",
    "who": """
        'Pod of model "' + variables.model + '", ' + (variables.evaluation != ''
          ? 'evaluation "' + variables.evaluation + '"' : variables.batch != ''
          ? 'batch of revision "' + variables.batch + '"' : 'revision "' + variables.revision + '"') + ': '
    """,
    # Somebody else's workloads run the revision: its Pods say at which level they answer.
    "external": """
        variables.batch == '' && variables.evaluation == '' &&
          params.?spec.?grants[?variables.revision].?external.orValue(false)
    """,
    "level": "params.?spec.?grants[?variables.revision].?level.orValue('')",
    "serves": f"variables.labels[?'{LABEL_SERVES}'].orValue('Shadow')",
    "levels": words(LEVELS),
    # The template that was evaluated; an empty map where nothing is granted.
    "template": """
        variables.evaluation != '' ? params.?spec.?evaluations[?variables.evaluation].?template.orValue({}) :
          variables.batch != '' ? params.?spec.?grants[?variables.batch].?batch.orValue({}) :
          params.?spec.?grants[?variables.revision].?template.orValue({})
    """,
    # What Deployments and, for batches, Jobs put on their Pods; on others', Argo Rollouts, and whoever writes them.
    "added": f"""
        variables.batch != '' ? {words(JOB_LABELS)} :
          variables.external ? {words(("pod-template-hash", ROLLOUTS_HASH, LABEL_SERVES))} :
          variables.revision != '' ? ['pod-template-hash'] : []
    """,
    "grantedLabels": "variables.template.?metadata.?labels.orValue({})",
    "grantedAnnotations": "variables.template.?metadata.?annotations.orValue({})",
    "grantedSpec": "variables.template.?spec.orValue({})",
    "spec": "dyn(object.spec)",
    "containers": "object.spec.containers + object.spec.?initContainers.orValue([])",
    "notAllowed": """
        variables.containers.map(c, c.image).filter(i, !(i in params.?spec.?allowedImages.orValue([])))
    """,
    "grantedContainers": """
        variables.grantedSpec.?containers.orValue([]) + variables.grantedSpec.?initContainers.orValue([])
    """,
    # Volumes with the service account's token, which the API server adds to Pods where the template doesn't forbid it.
    "tokens": """
        !variables.grantedSpec.?automountServiceAccountToken.orValue(true) ? [] :
          object.spec.?volumes.orValue([]).filter(v, v.name.startsWith('kube-api-access-') && has(v.projected) &&
            v.projected.sources.all(s, has(s.serviceAccountToken) || has(s.downwardAPI) ||
              (has(s.configMap) && s.configMap.name == 'kube-root-ca.crt'))).map(v, v.name)
    """,
    "tokenPath": f"'{TOKEN_DIRECTORY}'",
    "notCompared": words((*POD_FIELDS_NOT_COMPARED, "containers", "initContainers", "volumes")),
    "wrongFields": """
        variables.spec.filter(f, !(f in variables.notCompared) &&
          (!(f in variables.grantedSpec) || variables.grantedSpec[f] != variables.spec[f])) +
        variables.grantedSpec.filter(f, !(f in variables.notCompared) && !(f in variables.spec))
    """,
    "notComparedInContainers": words((*CONTAINER_FIELDS_NOT_COMPARED, "volumeMounts")),
    # As "server.args, server.env; fetch.image".
    "wrongContainers": """
        variables.containers.map(c, variables.grantedContainers.filter(g, g.name == c.name).map(g, (
          dyn(c).filter(f, !(f in variables.notComparedInContainers) && (!(f in g) || g[f] != dyn(c)[f])) +
          g.filter(f, !(f in variables.notComparedInContainers) && !(f in c)) +
          (c.?volumeMounts.orValue([]).filter(m, !(m.name in variables.tokens && m.mountPath == variables.tokenPath)) ==
            g.?volumeMounts.orValue([]) ? [] : ['volumeMounts'])
        ).map(f, c.name + '.' + f).join(', ')).join('')).filter(text, text != '')
    """,
}

_GRANTED = (
    Rule(
        holds="variables.managed || variables.notAllowed == []",
        says="""
            'namespace ' + request.namespace +
            ' is enrolled as Strict, and these images are neither granted nor allowed: ' +
            variables.notAllowed.join(', ') +
            '; run the model through a ModelDeployment, or have the image allowed by digest'
        """,
    ),
    Rule(
        holds="!variables.managed || variables.template != {}",
        says="""
            variables.who + 'not granted in namespace ' + request.namespace +
            '; kubectl describe modeldeployment ' + variables.model + ' says why'
        """,
    ),
    Rule(
        holds="""
            !variables.managed || (
              variables.labels.all(l, l in variables.added ||
                variables.grantedLabels[?l].orValue('') == variables.labels[l]) &&
              variables.grantedLabels.all(l, l in variables.labels))
        """,
        says="""
            variables.who + 'labels differ from the granted ones: ' +
            (variables.labels.filter(l, !(l in variables.added) &&
               variables.grantedLabels[?l].orValue('') != variables.labels[l]) +
             variables.grantedLabels.filter(l, !(l in variables.labels))).join(', ')
        """,
    ),
    Rule(
        holds="""
            !variables.managed || variables.grantedAnnotations.all(a,
              object.metadata.?annotations[?a].orValue('') == variables.grantedAnnotations[a])
        """,
        says="""
            variables.who + 'annotations differ from the granted ones: ' + variables.grantedAnnotations.filter(a,
              object.metadata.?annotations[?a].orValue('') != variables.grantedAnnotations[a]).join(', ')
        """,
    ),
    Rule(
        holds="""
            !variables.managed || (
              object.spec.containers.map(c, c.name) == variables.grantedSpec.?containers.orValue([]).map(c, c.name) &&
              object.spec.?initContainers.orValue([]).map(c, c.name) ==
                variables.grantedSpec.?initContainers.orValue([]).map(c, c.name))
        """,
        says="""
            variables.who + 'containers are ' + variables.containers.map(c, c.name).join(', ') + '; granted are ' +
            variables.grantedContainers.map(c, c.name).join(', ')
        """,
    ),
    Rule(
        holds="!variables.managed || variables.wrongContainers == []",
        says="""
            variables.who + 'differs from what was evaluated in ' + variables.wrongContainers.join('; ') +
            ' (images here: ' + variables.containers.map(c, c.image).join(', ') + ')'
        """,
    ),
    Rule(
        holds="""
            !variables.managed || object.spec.?volumes.orValue([]).filter(v, !(v.name in variables.tokens)) ==
              variables.grantedSpec.?volumes.orValue([])
        """,
        says="""
            variables.who + 'volumes differ from what was evaluated: ' +
            object.spec.?volumes.orValue([]).filter(v, !(v.name in variables.tokens) &&
              !(v in variables.grantedSpec.?volumes.orValue([]))).map(v, v.name).join(', ')
        """,
    ),
    Rule(
        holds="!variables.managed || variables.wrongFields == []",
        says="variables.who + 'differs from what was evaluated in ' + variables.wrongFields.join(', ')",
    ),
    Rule(
        holds="!variables.managed || variables.containers.all(c, c.image.contains('@sha256:'))",
        says="""
            variables.who + 'images must be pinned as NAME@sha256:DIGEST: ' +
            variables.containers.filter(c, !c.image.contains('@sha256:')).map(c, c.image).join(', ')
        """,
    ),
    Rule(
        holds="""
            !variables.external || (variables.serves in variables.levels &&
              variables.levels.indexOf(variables.serves) <= variables.levels.indexOf(variables.level))
        """,
        says=f"""
            variables.who + 'would serve at ' + variables.serves + ' ({LABEL_SERVES}), and is granted ' +
            variables.level + '; kubectl describe modeldeployment ' + variables.model + ' says why'
        """,
    ),
    # Entering a Pod is asked about by name only.
    Rule(
        holds=f"""
            !variables.external || object.metadata.name.matches('^' + variables.model + {_NAMED}) ||
              object.metadata.name.startsWith(variables.model + '-' + variables.revision.substring(0, 10) + '-')
        """,
        says="""
            variables.who + 'is named ' + object.metadata.name + ', expected ' + variables.model +
            '-…; name the workload as its PodTemplate: ' + variables.model + ', ' + variables.model + '-suggest or ' +
            variables.model + '-shadow'
        """,
    ),
)

WHO_MAY_RUN = Policy(
    name="pods",
    point=1,
    why="""A Pod of a model runs only as it was evaluated: it must equal the template in the namespace's AutonomyGrant.
    In Strict namespaces every other Pod may use allowed images only.""",
    matches=(Match(group="", versions=("v1",), resources=("pods",), operations=("CREATE",)),),
    variables=_VARIABLES,
    rules=_GRANTED,
    bindings=(
        Binding(suffix=".labelled", enrolled=("Labelled",), labelled=LABEL_MODEL, without_grant="Deny"),
        Binding(suffix=".strict", enrolled=("Strict",), without_grant="Deny"),
    ),
)

_UPDATED = (
    Match(
        group="",
        versions=("v1",),
        resources=("pods", "pods/status", "pods/ephemeralcontainers", "pods/resize"),
        operations=("UPDATE",),
    ),
)

WHAT_STAYS_TRUE = Policy(
    name="pod-updates",
    point=2,
    why="""A running Pod of a model stays what was admitted: its labels, digests and images don't change, and nothing is
    added to it. It isn't asked on deletion, and removing a finalizer passes.""",
    matches=(*_UPDATED, Match(group="", versions=("v1",), resources=("pods",), operations=("CREATE",))),
    variables={
        "labels": LABELS,
        "oldLabels": OLD_LABELS,
        "update": "request.operation == 'UPDATE'",
        "managed": f"'{LABEL_MODEL}' in variables.labels || '{LABEL_MODEL}' in variables.oldLabels",
        "strict": f"namespaceObject.metadata.?labels[?'{LABEL_ENFORCE}'].orValue('') == 'Strict'",
        "images": """
            object.spec.containers.map(c, c.image) + object.spec.?initContainers.orValue([]).map(c, c.image)
        """,
        "added": """
            object.spec.?ephemeralContainers.orValue([]).filter(c, !variables.update ||
              !oldObject.spec.?ephemeralContainers.orValue([]).exists(o, o.name == c.name))
        """,
    },
    rules=(
        Rule(
            holds=f"""
                variables.update || variables.managed || !variables.labels.exists(l, l.startsWith('{OURS}'))
            """,
            says=f"""
                'labels {OURS}* belong to models: without {LABEL_MODEL} a Pod may carry none; here: ' +
                variables.labels.filter(l, l.startsWith('{OURS}')).join(', ')
            """,
        ),
        Rule(
            holds=f"""
                !variables.update || (variables.managed ? variables.labels == variables.oldLabels :
                  variables.labels.all(l, !l.startsWith('{OURS}') || l in variables.oldLabels))
            """,
            says=f"""
                'labels of a model\\'s Pod are fixed, and {OURS}* labels can\\'t be added to a running Pod; ' +
                'this changes: ' +
                (variables.labels.filter(l, variables.oldLabels[?l].orValue('') != variables.labels[l]) +
                 variables.oldLabels.filter(l, !(l in variables.labels))).join(', ')
            """,
        ),
        Rule(
            holds=f"!variables.update || !variables.managed || ({same_entries('annotations')})",
            says=f"'annotations {OURS}* of a model\\'s Pod are fixed: they say what was evaluated'",
        ),
        Rule(
            holds="""
                !variables.update || !(variables.managed || variables.strict) || variables.images ==
                  oldObject.spec.containers.map(c, c.image) + oldObject.spec.?initContainers.orValue([]).map(c, c.image)
            """,
            says="""
                'images of a running Pod are fixed here: what runs is what was evaluated; this would set ' +
                variables.images.filter(i, !oldObject.spec.containers.exists(c, c.image == i)).join(', ')
            """,
        ),
        Rule(
            holds="!variables.managed || variables.added == []",
            says="""
                'no ephemeral container enters a model\\'s Pod: it would share what was evaluated; ' +
                'copy the Pod instead: kubectl debug --copy-to'
            """,
        ),
        Rule(
            holds="!variables.strict || variables.added.all(c, c.image in variables.images)",
            says="""
                'in a Strict namespace ephemeral containers may use the Pod\\'s own images only, not ' +
                variables.added.map(c, c.image).filter(i, !(i in variables.images)).join(', ')
            """,
        ),
    ),
    bindings=(Binding(enrolled=ENROLLED),),
)

EVALUATION_PODS = Policy(
    name="evaluation-pods",
    point=4,
    why="""Evidence comes out of evaluation Pods, so only the Job controller creates them, for the operator's Jobs, in
    every namespace; nothing is changed on them or added to them, and only kubelets say how their containers ended.""",
    matches=(*_UPDATED, Match(group="", versions=("v1",), resources=("pods",), operations=("CREATE",))),
    variables={
        "job": f"object.metadata.?labels[?'{LABEL_EVALUATION}'].orValue('')",
        "update": "request.operation == 'UPDATE'",
    },
    rules=(
        Rule(
            holds=f"""
                variables.update || (request.userInfo.username in {words(kube_controller("job-controller"))} &&
                  variables.job.startsWith('{EVALUATION_JOB_PREFIX}') &&
                  object.metadata.?ownerReferences.orValue([]).exists(o, o.kind == 'Job' && o.name == variables.job &&
                    o.?controller.orValue(false)))
            """,
            says="""
                request.userInfo.username + ' may not create a Pod of evaluation "' + variables.job +
                '": evaluation Pods only come from the operator\\'s Jobs'
            """,
        ),
        Rule(
            holds="!variables.update || object.metadata.?labels.orValue({}) == oldObject.metadata.?labels.orValue({})",
            says="'labels of an evaluation Pod are fixed'",
        ),
        Rule(
            holds="""
                !variables.update || (
                  object.spec.containers.map(c, c.image) == oldObject.spec.containers.map(c, c.image) &&
                  object.spec.?initContainers.orValue([]).map(c, c.image) ==
                    oldObject.spec.?initContainers.orValue([]).map(c, c.image) &&
                  object.spec.?ephemeralContainers.orValue([]).size() == 0)
            """,
            says="'nothing enters an evaluation Pod: its images are fixed, ephemeral containers are refused'",
        ),
        Rule(
            holds="""
                !variables.update || 'system:nodes' in request.userInfo.?groups.orValue([]) || (
                  object.?status.?containerStatuses == oldObject.?status.?containerStatuses &&
                  object.?status.?initContainerStatuses == oldObject.?status.?initContainerStatuses)
            """,
            says="'only the kubelet says how the containers of an evaluation Pod ended'",
        ),
    ),
    bindings=(Binding(labelled=LABEL_EVALUATION),),
)

EVALUATION_ACCESS = Policy(
    name="evaluation-access",
    point=4,
    why="Nobody enters an evaluation Pod, or evidence could be made by hand.",
    matches=(
        Match(
            group="",
            versions=("v1",),
            resources=("pods/exec", "pods/attach", "pods/portforward", "pods/proxy"),
            operations=("CONNECT",),
        ),
    ),
    only_when={"evaluation-pod": f"request.name.startsWith('{EVALUATION_JOB_PREFIX}')"},
    rules=(
        Rule(
            holds="false",
            says="""
                request.subResource + ' into evaluation Pod ' + request.name +
                ' is refused for everyone: evidence is made by the evaluation alone; kubectl logs still works'
            """,
        ),
    ),
    bindings=(Binding(),),
)

SERVING_ACCESS = Policy(
    name="serving-access",
    point=2,
    why="""Whoever enters a model's Pod can make it answer something else than what was evaluated. It takes the verb
    debug on that ModelDeployment.""",
    matches=(Match(group="", versions=("v1",), resources=("pods/exec", "pods/attach"), operations=("CONNECT",)),),
    variables={
        # Pods are named after their Deployment: MODEL-<first 10 of the revision>-…; others' after their PodTemplate.
        "grants": "params.?spec.?grants.orValue({})",
        "revisions": """
            variables.grants.filter(k,
              request.name.startsWith(variables.grants[k].model + '-' + k.substring(0, 10) + '-') ||
              (variables.grants[k].?external.orValue(false) &&
                request.name.matches('^' + variables.grants[k].model + NAMED)))
        """.replace("NAMED", _NAMED),
        "models": """
            params.?spec.?models.orValue([]).filter(m, variables.revisions.exists(k, variables.grants[k].model == m))
        """,
    },
    rules=(
        Rule(
            # A name may be more than one model's: each of them must allow it. Words can't ask the authorizer again.
            holds=f"""
                variables.revisions.all(k, authorizer.group('{GROUP}').resource('modeldeployments')
                  .namespace(request.namespace).name(variables.grants[k].model).check('debug').allowed())
            """,
            says=f"""
                request.userInfo.username + ' may not ' + request.subResource + ' into ' + request.name +
                ', which serves ' + variables.models.join(' or ') +
                ': it takes the verb debug on modeldeployments.{GROUP}; ' +
                'kubectl debug --copy-to makes a copy that serves nobody'
            """,
        ),
    ),
    bindings=(Binding(enrolled=ENROLLED, without_grant="Allow"),),
)

POLICIES = (WHO_MAY_RUN, WHAT_STAYS_TRUE, SERVING_ACCESS, EVALUATION_PODS, EVALUATION_ACCESS)
