# METADATA
# title: Actor allowed here
# description: |
#   An actor acts only where its author and this workspace allow it, and only on objects of the
#   plan's own environment.
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
#     disabled:
#       level: hard
#       satisfy: "Choose another actor, or enable it in its actor.yaml."
#     environment:
#       level: hard
#       satisfy: "Choose an actor that is made for this environment."
#     withheld:
#       level: hard
#       satisfy: "Choose another actor; data.yaml withholds this one here."
#     foreign_target:
#       level: hard
#       satisfy: "Write one ticket for each environment."
package interlock.rules.actor_allowed

import rego.v1

env := input.environment.name

withheld := data.params.actor_allowed[env].withheld

complete if is_object(withheld)

deny contains {"id": "actor_allowed.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about actor_allowed for ", env])
}

deny contains {"id": "actor_allowed.disabled", "subject": class.class, "msg": msg} if {
	some class in input.plan.classes
	input.catalog.actors[class.actor].enabled == false
	msg := concat("", [class.actor, " is not enabled"])
}

deny contains {"id": "actor_allowed.environment", "subject": class.class, "msg": msg} if {
	some class in input.plan.classes
	allowed := input.catalog.actors[class.actor].environments
	count(allowed) > 0
	not allowed[env]
	msg := concat("", [class.actor, " is not made for ", env])
}

deny contains {"id": "actor_allowed.withheld", "subject": class.class, "msg": msg} if {
	some class in input.plan.classes
	withheld[class.actor]
	msg := concat("", [class.actor, " is withheld in ", env])
}

deny contains {"id": "actor_allowed.foreign_target", "subject": class.class, "msg": msg} if {
	some class in input.plan.classes
	some other, _ in class.environments
	other != env
	msg := concat("", [class.actor, " would touch objects of ", other])
}
