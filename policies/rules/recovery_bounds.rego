# METADATA
# title: Recovery stays within bounds
# description: |
#   A plan that answers an incident touches no target that the first plan did not have, and there
#   are not more such plans than data.yaml allows.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: critical
#   findings:
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml how many recovery plans a run may have."
#     unknown:
#       level: hard
#       satisfy: "A recovery plan names the plan that it answers; this is a fault of the caller."
#     outside:
#       level: hard
#       satisfy: "Keep to the targets of the first plan; write another ticket for the others."
#     too_many:
#       level: hard
#       satisfy: "Hold the run and look at it by hand, or roll it back."
package interlock.rules.recovery_bounds

import rego.v1

env := input.environment.name

most := data.params.recovery_bounds[env].remedies

complete if is_number(most)

deny contains {"id": "recovery_bounds.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about recovery_bounds for ", env])
}

deny contains {"id": "recovery_bounds.unknown", "subject": "plan", "msg": "a recovery plan without the plan that it answers"} if {
	input.mode == "recovery"
	input.recovery == null
}

deny contains {"id": "recovery_bounds.outside", "subject": "plan", "msg": msg, "edit": edit} if {
	input.recovery.targets_outside > 0
	number := format_int(input.recovery.targets_outside, 10)
	named := concat(", ", input.recovery.sample_outside)
	msg := concat("", ["the recovery plan touches ", number, " targets that the first plan did not have, such as ", named])
	edit := "keep to the targets of the first plan"
}

deny contains {"id": "recovery_bounds.too_many", "subject": "plan", "msg": msg} if {
	input.recovery.remedies > most
	msg := concat("", ["the run has had ", format_int(input.recovery.remedies, 10), " remedies; at most ", format_int(most, 10)])
}
