# METADATA
# title: Evidence is fresh
# description: An actor may act only if its own tests have passed for exactly the folder that would act.
# schemas:
#   - input: schema.input
# custom:
#   severity: high
#   satisfy: Run `interlock actors test NAME`, and plan again.
#   findings: [evidence]
package interlock.rules.evidence

import rego.v1

deny contains {
	"id": "evidence",
	"subject": name,
	"msg": concat("", ["the tests of ", name, " have not passed as it is now: its evidence is ", actor.evidence]),
	"edit": concat("", ["run: interlock actors test ", name]),
} if {
	some name, actor in input.catalog.actors
	actor.evidence != "fresh"
}
