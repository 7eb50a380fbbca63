# METADATA
# title: Parallelism and stop thresholds
# description: |
#   How many acts may run at once, and after how many failed slices a wave turns round. Both are
#   obligations: the machine keeps them while the run acts, and takes the tightest.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: medium
#   findings:
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml what holds in this environment; nothing is assumed."
package interlock.rules.parallelism

import rego.v1

env := input.environment.name

bounds := data.params.parallelism[env]

complete if {
	is_number(bounds.max_parallel)
	is_number(bounds.stop_after)
}

deny contains {"id": "parallelism.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about parallelism for ", env])
}

constrain contains {"id": "parallelism.max_parallel", "subject": "plan", "kind": "max_parallel", "value": value, "msg": msg} if {
	complete
	value := bounds.max_parallel
	msg := concat("", ["as many acts at once ", env, " bears"])
}

constrain contains {"id": "parallelism.stop_after", "subject": "plan", "kind": "stop_after", "value": value, "msg": msg} if {
	complete
	count(input.plan.waves) > 0
	value := bounds.stop_after
	msg := concat("", ["after so many failed slices a wave in ", env, " turns round"])
}
