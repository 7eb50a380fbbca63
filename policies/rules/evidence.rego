# METADATA
# title: Evidence is fresh
# description: |
#   An actor may act only if its own tests have passed for exactly the folder that would act.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: high
#   narrows: true
#   findings:
#     stale:
#       level: hard
#       satisfy: "Run `interlock actors test NAME` and plan again."
package interlock.rules.evidence

import rego.v1

deny contains {"id": "evidence.stale", "subject": class.class, "msg": msg, "edit": edit} if {
	some class in input.plan.classes
	class.gate == "none"
	not fresh(class.actor)
	msg := concat("", ["the tests of ", class.actor, " have not passed as it is now"])
	edit := concat("", ["run: interlock actors test ", class.actor])
}

fresh(name) if input.catalog.actors[name].evidence == "fresh"
