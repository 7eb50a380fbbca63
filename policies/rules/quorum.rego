# METADATA
# title: Quorum by risk
# description: |
#   Who must consent, and how many, follows from the environment and the risk that the ticket
#   states. Each person counts once, in one role; whoever asked or opened the run never counts.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: high
#   findings:
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml what holds in this environment; nothing is assumed."
package interlock.rules.quorum

import rego.v1

env := input.environment.name

risk := input.ticket.risk

wanted := data.params.quorum[env][risk]

complete if is_object(wanted)

deny contains {"id": "quorum.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about quorum for ", env])
}

require_approval contains {"id": "quorum", "subject": "plan", "role": role, "count": number, "msg": msg} if {
	some role, number in wanted
	msg := concat("", ["a change of ", risk, " risk in ", env])
}
