# METADATA
# title: Who may ask for what
# description: |
#   A person may ask for a change only with a role that data.yaml names for this environment and
#   class.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: high
#   narrows: true
#   findings:
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml what holds in this environment; nothing is assumed."
#     not_allowed:
#       level: hard
#       satisfy: "Let somebody ask who holds one of the roles, or have the role given in interlock.yaml."
package interlock.rules.requesters

import rego.v1

env := input.environment.name

class := input.ticket.class

roles := data.params.requesters[env][class]

complete if is_object(roles)

deny contains {"id": "requesters.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about requesters for ", env])
}

allowed if {
	some role, _ in input.requester.roles
	roles[role] == true
}

deny contains {"id": "requesters.not_allowed", "subject": input.requester.id, "msg": msg} if {
	complete
	not allowed
	msg := concat("", [input.requester.id, " holds no role that may ask for a change of the class ", class, " in ", env])
}
