# METADATA
# title: Evidence is fresh
# description: |
#   An actor may act only if its own tests have passed for exactly the folder that would act, and
#   not longer ago than data.yaml says.
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
#     old:
#       level: advisory
#       satisfy: "Run `interlock actors test NAME` again; what it was tested with has moved on."
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml how old evidence may be."
package interlock.rules.evidence

import rego.v1

env := input.environment.name

longest := data.params.evidence[env].longest_days

complete if is_number(longest)

deny contains {"id": "evidence.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about evidence for ", env])
}

deny contains {"id": "evidence.stale", "subject": class.class, "msg": msg, "edit": edit} if {
	some class in input.plan.classes
	class.gate == "none"
	not fresh(class.actor)
	msg := concat("", ["the tests of ", class.actor, " have not passed as it is now"])
	edit := concat("", ["run: interlock actors test ", class.actor])
}

fresh(name) if input.catalog.actors[name].evidence == "fresh"

# Evidence that says no day is as old as can be.
deny contains {"id": "evidence.old", "subject": class.class, "msg": msg, "edit": edit} if {
	complete
	some class in input.plan.classes
	class.gate == "none"
	fresh(class.actor)
	not recent(class.actor)
	msg := concat("", ["the tests of ", class.actor, " passed more than ", format_int(longest, 10), " days ago, or nobody knows when"])
	edit := concat("", ["run: interlock actors test ", class.actor])
}

recent(name) if {
	days := input.catalog.actors[name].evidence_age_days
	is_number(days)
	days <= longest
}
