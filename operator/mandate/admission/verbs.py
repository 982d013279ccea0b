"""Point 4, for verbs: what people ask of a model takes a right of its own per verb, and says who asks."""

from __future__ import annotations

from mandate.admission.fragments import OURS
from mandate.admission.policy import Binding, Match, Policy, Rule, words
from mandate.api.asks import EXPECTED, FORM, PLAIN_LIMIT, RESERVED, USER_LIMIT, VALUE_LIMIT, VERBS, annotation
from mandate.api.names import GROUP

_WORDS = tuple(verb.lower() for verb in VERBS)
_NAMES = "{" + ", ".join(f"'{verb.lower()}': '{verb}'" for verb in VERBS) + "}"
_ANNOTATIONS = words(tuple(annotation(verb) for verb in VERBS))
_FORM = f"r'^{FORM}$'"


def _value(of: str) -> str:
    return f"variables.{of}[?'{OURS}' + v].orValue('')"


def _formed(value: str) -> str:
    return f"{value}.size() <= {VALUE_LIMIT} && {value}.matches({_FORM})"


def _may(verb: str) -> str:
    return (
        f"authorizer.group('{GROUP}').resource('modeldeployments')\n"
        f"  .namespace(request.namespace).name(request.name).check('{verb}').allowed()"
    )


_VARIABLES = {
    "now": "object.metadata.?annotations.orValue({})",
    "was": "(oldObject == null ? {} : oldObject.metadata.?annotations.orValue({}))",
    "handled": "(oldObject == null ? {} : dyn(oldObject).?status.?handled.orValue({}))",
    # As verbs are called in status.handled.
    "names": _NAMES,
    # Asked before this request, and not seen to yet.
    "open": f"""
        {words(_WORDS)}.filter(v, {_value("was")} != '' &&
          variables.handled[?variables.names[v]].orValue('') !=
            ({_formed(_value("was"))} ? {_value("was")}.split(' ', 2)[0] : {_value("was")}))
    """,
    # Whoever tidies away what was seen to asks for nothing.
    "changed": f"""
        {words(_WORDS)}.filter(v, {_value("now")} != {_value("was")} &&
          ({_value("now")} != '' || v in variables.open))
    """,
    "asked": f"variables.changed.filter(v, {_value('now')} != '')",
    "formed": f"variables.asked.filter(v, {_formed(_value('now'))})",
    "asks": f"""
        variables.formed.map(v, {{
          'verb': v,
          'head': {_value("now")}.split(' by ', 2)[0],
          'by': {_value("now")}.split(' by ', 2)[1].split(': ', 2)[0]
        }})
    """,
    "model": "request.resource.resource + ' ' + request.name",
    "halted": "oldObject != null && (dyn(oldObject).?status.?halted.hasValue() || 'halt' in variables.open)",
    # All that isn't a verb. Removing finalizers of what is being deleted passes, so nothing hangs in deletion. Without
    # its entry in managedFields, what the operator takes out of the status would stay in it.
    "rest": f"""
        oldObject != null &&
        dyn(object).all(f, f in ['metadata', 'status'] ||
          (f in dyn(oldObject) && dyn(oldObject)[f] == dyn(object)[f])) &&
        dyn(oldObject).all(f, f in ['metadata', 'status'] || f in dyn(object)) &&
        object.metadata.?labels.orValue({{}}) == oldObject.metadata.?labels.orValue({{}}) &&
        variables.now.all(k, k in {_ANNOTATIONS} || (k in variables.was && variables.was[k] == variables.now[k])) &&
        variables.was.all(k, k in {_ANNOTATIONS} || k in variables.now) &&
        object.metadata.?ownerReferences.orValue([]) == oldObject.metadata.?ownerReferences.orValue([]) &&
        (object.metadata.?finalizers.orValue([]) == oldObject.metadata.?finalizers.orValue([]) ||
          (has(oldObject.metadata.deletionTimestamp) &&
            object.metadata.?finalizers.orValue([]).all(f, f in oldObject.metadata.?finalizers.orValue([])))) &&
        oldObject.metadata.?managedFields.orValue([]).all(m, m.?subresource.orValue('') != 'status' ||
          m in object.metadata.?managedFields.orValue([]))
    """,
}


def policies() -> tuple[Policy, ...]:
    """The annotations that ask a verb of a ModelDeployment."""
    return (
        Policy(
            name="verbs",
            point=4,
            why=f"""Asking a verb of a ModelDeployment by its annotation ({annotation("Pause")}, …) takes that verb on
            modeldeployments.{GROUP}, and the value names who asks. Who may patch and not update may ask, and change
            nothing else.""",
            matches=(Match(group=GROUP, resources=("modeldeployments",), operations=("CREATE", "UPDATE")),),
            variables=_VARIABLES,
            rules=(*(_verb(verb) for verb in _WORDS), *_RULES),
            bindings=(Binding(),),
        ),
    )


def _verb(verb: str) -> Rule:
    """One rule per verb: asking the authorizer twice would exceed what one CEL expression may cost."""
    return Rule(
        holds=f"!('{verb}' in variables.changed) ||\n{_may(verb)}",
        says=f"""
            request.userInfo.username + ' may not change {OURS}{verb} of ' + variables.model +
            ': it takes the verb {verb} on modeldeployments.{GROUP}'
        """,
    )


_RULES = (
    Rule(
        holds=f"""
            variables.asked.all(v, v in variables.formed ||
              (v == 'retry' && {_value("now")}.size() <= {PLAIN_LIMIT})) &&
            variables.asks.all(a, (a.verb == 'halt' || !a.head.contains(' to ')) &&
              a.by.size() <= {USER_LIMIT} && !(a.by in {words(RESERVED)}))
        """,
        says=f"""
            'annotations ' + variables.asked.map(v, '{OURS}' + v).join(', ') + ': expected {EXPECTED} ' +
            '(halt may say "to Shadow" after ID; ID is one word), at most {VALUE_LIMIT} characters'
        """,
    ),
    Rule(
        holds="variables.asks.all(a, a.by == request.userInfo.username)",
        says=f"""
            'annotations {OURS}* say who asks: expected "by ' + request.userInfo.username + '", not "by ' +
            variables.asks.filter(a, a.by != request.userInfo.username).map(a, a.by).join('", "by ') + '"'
        """,
    ),
    Rule(
        holds="""
            variables.asks.all(a, variables.handled[?variables.names[a.verb]].orValue('') != a.head.split(' ', 2)[0])
        """,
        says=f"""
            'annotations {OURS}*: this ID was seen to already, so nothing would happen; take another one for ' +
            variables.asks.map(a, a.verb).join(', ')
        """,
    ),
    Rule(
        holds=f"!('resume' in variables.asked) || !variables.halted ||\n{_may('halt')}",
        says=f"""
            request.userInfo.username + ' may not resume ' + variables.model +
            ', which is halted: lifting a halt takes the verb halt on modeldeployments.{GROUP} as well'
        """,
    ),
    Rule(
        holds=f"""
            oldObject == null || variables.rest ||
            authorizer.group('{GROUP}').resource('modeldeployments')
              .namespace(request.namespace).name(request.name).check('update').allowed()
        """,
        says=f"""
            request.userInfo.username + ' may only ask verbs of ' + variables.model + ', by the annotations {OURS}' +
            '{"|".join(_WORDS)}: changing anything else takes the verb update on modeldeployments.{GROUP}'
        """,
    ),
)
