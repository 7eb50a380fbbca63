# METADATA
# title: Order
# description: |
#   What must come first comes first on every target (drain before upgrade), and what disturbs
#   targets slice by slice is looked at before the next slice.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: high
#   findings:
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml what holds in this environment; nothing is assumed."
#     too_early:
#       level: hard
#       satisfy: "Put the step that data.yaml names before this one, on the same targets."
#     unchecked:
#       level: hard
#       satisfy: "Add a step that reads the targets of the slice after this one, before the next slice begins."
package interlock.rules.order

import rego.v1

env := input.environment.name

firsts := data.params.order[env].first

complete if is_array(firsts)

deny contains {"id": "order.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about order for ", env])
}

deny contains {"id": "order.too_early", "subject": class.class, "msg": msg, "edit": edit} if {
	some wanted in firsts
	some class in input.plan.classes
	class.actor == wanted.actor
	class.touches[wanted.group]
	not class.before[wanted.first]
	msg := concat("", [class.actor, " on ", wanted.group, " in ", env, " comes after ", wanted.first])
	edit := concat("", ["add a step of ", wanted.first, " before it, on the same targets"])
}

deny contains {"id": "order.unchecked", "subject": class.class, "msg": msg} if {
	some class in input.plan.classes
	class.wave != null
	class.disturbs
	not class.checked
	msg := concat("", ["nothing looks at the targets of ", class.actor, " before the next slice of ", class.wave, " begins"])
}
