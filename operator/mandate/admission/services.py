"""Point 3: at which level. Only the operator writes what leads traffic to managed Pods."""

from __future__ import annotations

from mandate.admission.fragments import OURS, kube_controller, not_operator
from mandate.admission.policy import ENROLLED, Actors, Binding, Match, Policy, Rule, words
from mandate.api.names import LABEL_SERVES

_ON_MANAGED_PODS = (
    "pod-template-hash",
    "rollouts-pod-template-hash",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "serving.kserve.io/inferenceservice",
    "networking.kserve.io/visibility",
)
"""Labels of managed Pods beside our own: the ReplicaSet's, Argo Rollouts', what the scheduler may copy from the node,
and KServe's. KServe has two more, `app` and `component`, that others use too: those count by their values."""

ROUTES = ("httproutes", "grpcroutes", "tlsroutes", "tcproutes", "udproutes")


_MODELS = "params.?spec.?models.orValue([])"


def _of_revision(name: str) -> str:
    """CEL: `name` is that of the Service of one revision, whether granted, or there, or not yet."""
    return f"({name}.matches('-[0-9a-f]{{10}}$') && {name}.substring(0, {name}.size() - 11) in {_MODELS})"


def _to_revision(name: str) -> str:
    """CEL: as `_of_revision`, or it is the Service that KServe makes of a revision's InferenceService."""
    ending = len("-predictor")
    kserve = (
        f"({name}.matches('-[0-9a-f]{{10}}-predictor$') && "
        f"{name}.substring(0, {name}.size() - {11 + ending}) in {_MODELS})"
    )
    return f"({_of_revision(name)} || {kserve})"


def made_by_kserve(service: str) -> str:
    """CEL: a Service in the one form in which KServe makes any, by its own name, for the cluster's own callers; an
    update keeps whom it selects."""
    selector = "spec.?selector.orValue({})"
    return (
        f"({service}.metadata.name.endsWith('-predictor') && "
        f"{service}.{selector} == {{'app': 'isvc.' + {service}.metadata.name}} && "
        f"{service}.spec.?type.orValue('ClusterIP') == 'ClusterIP' && "
        f"{service}.spec.?externalIPs.orValue([]) == [] && "
        f"(oldObject == null || oldObject.{selector} == {service}.{selector}))"
    )


def _before(name: str, ending: str) -> str:
    """CEL: `name` is a model's name with this ending."""
    return f"({name}.endsWith('{ending}') && {name}.substring(0, {name}.size() - {len(ending)}) in {_MODELS})"


def policies(actors: Actors) -> tuple[Policy, ...]:
    """Services, endpoints and routes that would reach managed Pods, or answer in their place."""
    foreign = not_operator(actors)
    selectors = Policy(
        name="services",
        point=3,
        why="""Managed Pods carry our labels and pod-template-hash, and KServe's where it makes them, nothing else. A
        Service that selects by those alone would reach them past their level, so only the operator writes one; KServe
        makes those that it must have, under names that no route may name. Pods of the provider External say at which
        level they answer, and no others do: whoever selects that reaches no more than these.""",
        matches=(Match(group="", versions=("v1",), resources=("services",), operations=("CREATE", "UPDATE")),),
        only_when=foreign,
        variables={
            "selector": "object.spec.?selector.orValue({})",
            "before": "oldObject == null ? {} : oldObject.spec.?selector.orValue({})",
        },
        rules=(
            Rule(
                holds=f"""
                    variables.selector == {{}} || variables.selector == variables.before ||
                      {made_by_kserve("object")} ||
                      variables.selector.exists(k, k == '{LABEL_SERVES}' ||
                        !k.startsWith('{OURS}') && !(k in {words(_ON_MANAGED_PODS)}) &&
                        !(k == 'app' && variables.selector[k].startsWith('isvc.')) &&
                        !(k == 'component' && variables.selector[k] == 'predictor'))
                """,
                says="""
                    'Service ' + object.metadata.name + ' would select managed Pods by ' +
                    variables.selector.map(k, k).join(', ') +
                    ' past their level; use the ModelDeployment\\'s own Services: ' +
                    'NAME answers with what may act, NAME-suggest answers people'
                """,
            ),
        ),
        bindings=(Binding(enrolled=ENROLLED),),
    )
    reserved = " || ".join(
        (f"name in {_MODELS}", _before("name", "-suggest"), _before("name", "-nobody"), _of_revision("name"))
    )
    names = Policy(
        name="service-names",
        point=3,
        why="""The addresses NAME and NAME-suggest of a ModelDeployment, and the Services behind its routes, are the
        operator's: nobody takes them while they are free, and nobody adds endpoints to them.""",
        matches=(
            Match(group="", versions=("v1",), resources=("services",), operations=("CREATE",)),
            Match(
                group="discovery.k8s.io",
                resources=("endpointslices",),
                operations=("CREATE", "UPDATE"),
            ),
        ),
        only_when=foreign
        | {
            "not-the-endpoint-controller": "!(request.userInfo.username in "
            f"{words(kube_controller('endpointslice-controller'))})",
        },
        variables={
            "names": """
                request.resource.resource == 'services' ? [object.metadata.name] :
                  [object.metadata.?labels[?'kubernetes.io/service-name'].orValue(''),
                   oldObject == null ? '' : oldObject.metadata.?labels[?'kubernetes.io/service-name'].orValue('')]
            """,
            "unchanged": """
                oldObject != null && dyn(object).endpoints == dyn(oldObject).endpoints &&
                dyn(object).ports == dyn(oldObject).ports &&
                object.metadata.?labels.orValue({}) == oldObject.metadata.?labels.orValue({})
            """,
        },
        rules=(
            Rule(
                holds=f"variables.unchanged || !variables.names.exists(name, {reserved})",
                says="""
                    'the address ' + variables.names[0] + ' belongs to a ModelDeployment of this namespace; ' +
                    'only the operator decides what answers there'
                """,
            ),
        ),
        bindings=(Binding(enrolled=ENROLLED, without_grant="Allow"),),
    )
    routes = Policy(
        name="routes",
        point=3,
        why="""A route to the Service of one revision would serve it past its level. Routes to NAME and NAME-suggest are
        free: those answer at their level.""",
        matches=(
            Match(group="gateway.networking.k8s.io", resources=ROUTES, operations=("CREATE", "UPDATE")),
            Match(group="networking.k8s.io", resources=("ingresses",), operations=("CREATE", "UPDATE")),
        ),
        only_when=foreign,
        variables={
            "rules": "dyn(object).spec.?rules.orValue([])",
            # Names have no spaces, so joining and splitting flattens; CEL of Kubernetes 1.30 can't.
            "backends": """
                variables.rules.map(r, (r.?http.?paths.orValue([]).map(p, p.backend.?service.?name.orValue('')) +
                  r.?backendRefs.orValue([]).map(b, b.name) +
                  r.?backendRefs.orValue([]).map(b,
                    b.?filters.orValue([]).map(f, f.?requestMirror.?backendRef.?name.orValue('')).join(' ')) +
                  r.?filters.orValue([]).map(f, f.?requestMirror.?backendRef.?name.orValue(''))).join(' '))
                  .join(' ').split(' ') + [dyn(object).spec.?defaultBackend.?service.?name.orValue('')]
            """,
            "taken": f"variables.backends.filter(b, {_to_revision('b')})",
        },
        rules=(
            Rule(
                holds="variables.taken == []",
                says="""
                    'route ' + object.metadata.name + ' would reach ' + variables.taken.join(', ') +
                    ' past its level; route to the ModelDeployment\\'s Services NAME or NAME-suggest'
                """,
            ),
        ),
        bindings=(Binding(enrolled=ENROLLED, without_grant="Allow"),),
    )
    references = Policy(
        name="references",
        point=3,
        why="""A ReferenceGrant lets routes of other namespaces, where nothing may be enforced, name Services of this
        one: not those of one revision, and so not all of them.""",
        matches=(
            Match(group="gateway.networking.k8s.io", resources=("referencegrants",), operations=("CREATE", "UPDATE")),
        ),
        only_when=foreign | {"something-new": "oldObject == null || dyn(object).?spec != dyn(oldObject).?spec"},
        variables={
            "services": """
                dyn(object).spec.?to.orValue([]).filter(t, t.?group.orValue('') == '' && t.kind == 'Service')
                  .map(t, t.?name.orValue(''))
            """,
        },
        rules=(
            Rule(
                holds=f"variables.services.all(s, s != '' && !{_to_revision('s')})",
                says="""
                    'ReferenceGrant ' + object.metadata.name + ' would let routes elsewhere reach Services of one ' +
                    'revision past their level; name the Services it is for, such as a ModelDeployment\\'s NAME'
                """,
            ),
        ),
        bindings=(Binding(enrolled=ENROLLED, without_grant="Allow"),),
    )
    return selectors, names, routes, references
