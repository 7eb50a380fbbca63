# METADATA
# title: Undo, or a point of no return that people know of
# description: |
#   A change can be undone, or data.yaml says that this actor leaves nothing to undo, or a person
#   answers a gate right before it. Past a point of no return both are needed: the gate, and the
#   consent of the roles that data.yaml names.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: high
#   findings:
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml what holds in this environment; nothing is assumed."
#     none:
#       level: hard
#       satisfy: "Choose an actor that can be undone, put a confirm gate before the step, or let data.yaml accept the actor."
#     no_gate:
#       level: hard
#       satisfy: "Put an interlock.confirm step right before it."
package interlock.rules.undo

import rego.v1

env := input.environment.name

rules := data.params.undo[env]

complete if {
	is_object(rules.accepted)
	is_object(rules.one_way_approvals)
}

deny contains {"id": "undo.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about undo for ", env])
}

deny contains {"id": "undo.none", "subject": class.class, "msg": msg, "edit": edit} if {
	some class in input.plan.classes
	changes(class)
	class.undo == "none"
	class.confirmed == false
	not rules.accepted[class.actor] == true
	msg := concat("", [class.actor, " cannot be undone, and no person is asked right before it"])
	edit := "put an interlock.confirm step before it"
}

deny contains {"id": "undo.no_gate", "subject": class.class, "msg": msg, "edit": edit} if {
	some class in input.plan.classes
	one_way(class)
	class.confirmed == false
	msg := concat("", ["after ", class.actor, " there is no way back, and no person is asked right before it"])
	edit := "put an interlock.confirm step before it"
}

require_approval contains {"id": "undo.one_way", "subject": class.class, "role": role, "count": number, "msg": msg} if {
	some class in input.plan.classes
	one_way(class)
	some role, number in rules.one_way_approvals
	msg := concat("", ["after ", class.actor, " there is no way back"])
}

changes(class) if class.effect == "change"

changes(class) if class.effect == "destroy"

one_way(class) if class.point_of_no_return == true

one_way(class) if class.effect == "destroy"
