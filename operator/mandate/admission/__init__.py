"""What the API server itself refuses: ValidatingAdmissionPolicies as source, generated into the chart.

`policy` holds the small types that a policy is written in; `pods`, `services`, `writers`, `verbs` and `namespaces` hold
the policies; `template` prepares a Pod template for the grant; `python -m mandate.admission` generates and checks.
"""

from __future__ import annotations
