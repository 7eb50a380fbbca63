# METADATA
# title: Freeze calendar
# description: |
#   While an environment rests, no change begins or runs there. The calendar in data.yaml is written
#   in each place's own time; the input holds it as instants.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: high
#   findings:
#     unset:
#       level: hard
#       satisfy: "Give data.yaml a calendar, even an empty one: silence is not a calendar."
#     frozen:
#       level: hard
#       satisfy: "Move the change out of the freeze; only the classes that data.yaml exempts may act in it."
package interlock.rules.freeze

import rego.v1

env := input.environment.name

exempts := data.params.freeze.exempt[env]

complete if {
	is_array(data.params.freeze.calendar)
	is_object(exempts)
}

deny contains {"id": "freeze.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about freeze for ", env])
}

begins_s := input.ticket.window.start.epoch_s if input.ticket.window != null

begins_s := input.now.epoch_s if input.ticket.window == null

ends_s := input.ticket.window.end.epoch_s if input.ticket.window != null

ends_s := (input.now.epoch_s + input.plan.forward_s) + input.plan.rollback_s if input.ticket.window == null

# Never `not is_string(…)`: Open Policy Agent takes that as undefined where its argument is.
exempt if is_string(exempts[input.ticket.class])

hits contains freeze.name if {
	some freeze in input.calendar.freezes
	freeze.environments[env]
	freeze.start_s < ends_s
	begins_s < freeze.end_s
}

# What succeeded may be taken back at any time.
deny contains {"id": "freeze.frozen", "subject": name, "msg": msg} if {
	input.mode != "rollback"
	some name in hits
	not exempt
	msg := concat("", [env, " rests while '", name, "' lasts, and the change would act in that time"])
}

require_approval contains {"id": "freeze.exempt", "subject": name, "role": role, "count": 1, "msg": msg} if {
	some name in hits
	role := exempts[input.ticket.class]
	is_string(role)
	msg := concat("", ["a change of the class ", input.ticket.class, " may act in '", name, "' with this consent"])
}
