# METADATA
# title: Separation of duties
# description: |
#   Nobody approves what they asked for; where it matters an approval is signed; and what a model
#   drafted is read by a person.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: high
#   findings:
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml what holds in this environment; nothing is assumed."
#     own:
#       level: advisory
#       satisfy: "Let somebody approve who neither asked for the change nor opened its run; the own consent does not count."
#     unsigned:
#       level: soft
#       satisfy: "Approve with a key: interlock approve RUN --key FILE."
package interlock.rules.separation_of_duties

import rego.v1

env := input.environment.name

rules := data.params.separation_of_duties[env]

complete if {
	is_object(rules.signed)
	is_object(rules.drafted_by_model)
}

deny contains {"id": "separation_of_duties.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about separation_of_duties for ", env])
}

own contains input.requester.id

own contains input.requester.opened_by

deny contains {"id": "separation_of_duties.own", "subject": approval.by, "msg": msg} if {
	some approval in input.approvals
	own[approval.by]
	msg := concat("", [approval.by, " asked for this change or opened its run, and has approved it"])
}

deny contains {"id": "separation_of_duties.unsigned", "subject": approval.by, "msg": msg} if {
	rules.signed[input.ticket.risk] == true
	some approval in input.approvals
	approval.counts
	approval.method == "claimed"
	msg := concat("", ["the approval by ", approval.by, " is not signed; in ", env, " a change of ", input.ticket.risk, " risk needs that"])
}

require_approval contains {"id": "separation_of_duties.model", "subject": "plan", "role": role, "count": number, "msg": msg} if {
	input.planner.kind == "model"
	some role, number in rules.drafted_by_model
	msg := "a model drafted the plan: a person reads it"
}
