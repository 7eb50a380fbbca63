# METADATA
# title: Change class
# description: |
#   A standard change is prepared, of low risk, and has a way back; a normal one is announced; an
#   emergency is bounded and somebody answers for it.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: medium
#   findings:
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml what holds in this environment; nothing is assumed."
#     risk:
#       level: hard
#       satisfy: "State the class normal: a standard change may only have the risks that data.yaml lists."
#     one_way:
#       level: hard
#       satisfy: "State the class normal: what cannot be undone is never standard."
#     no_routine:
#       level: hard
#       satisfy: "Use a routine, or state the class normal."
#     too_soon:
#       level: soft
#       satisfy: "Move the window, or state the class emergency and have it approved as one."
#     unbounded:
#       level: hard
#       satisfy: "Name the targets of the emergency in the ticket."
package interlock.rules.change_class

import rego.v1

env := input.environment.name

rules := data.params.change_class[env]

class := input.ticket.class

complete if {
	is_object(rules.standard.risks)
	is_boolean(rules.standard.routine)
	is_number(rules.normal.lead_minutes)
	is_object(rules.emergency.approvals)
}

deny contains {"id": "change_class.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about change_class for ", env])
}

deny contains {"id": "change_class.risk", "subject": "plan", "msg": msg, "edit": "class: normal"} if {
	class == "standard"
	not rules.standard.risks[input.ticket.risk] == true
	msg := concat("", ["a standard change in ", env, " may not be of ", input.ticket.risk, " risk"])
}

deny contains {"id": "change_class.one_way", "subject": "plan", "msg": msg, "edit": "class: normal"} if {
	class == "standard"
	input.summary.points_of_no_return + input.summary.destroys > 0
	msg := "a standard change may neither destroy nor pass a point of no return"
}

deny contains {"id": "change_class.no_routine", "subject": "plan", "msg": msg} if {
	class == "standard"
	rules.standard.routine == true
	input.ticket.routine == null
	msg := concat("", ["a standard change in ", env, " comes from a routine, and this ticket names none"])
}

deny contains {"id": "change_class.too_soon", "subject": "plan", "msg": msg} if {
	class == "normal"
	rules.normal.lead_minutes > 0
	ahead_s := input.ticket.window.start.epoch_s - input.run.opened_s
	ahead_s < rules.normal.lead_minutes * 60
	minutes := format_int(rules.normal.lead_minutes, 10)
	msg := concat("", ["a normal change in ", env, " is announced ", minutes, " minutes before its window"])
}

deny contains {"id": "change_class.unbounded", "subject": "plan", "msg": msg} if {
	class == "emergency"
	input.ticket.bounded == false
	msg := "an emergency names its targets: in a hurry nobody reads a list"
}

require_approval contains {"id": "change_class.emergency", "subject": "plan", "role": role, "count": number, "msg": msg} if {
	class == "emergency"
	some role, number in rules.emergency.approvals
	msg := "somebody answers for an emergency"
}
