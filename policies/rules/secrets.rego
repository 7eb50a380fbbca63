# METADATA
# title: Secrets are references
# description: |
#   A plan holds no secret: it names one, and the act's own process fetches it.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: critical
#   findings:
#     literal:
#       level: hard
#       satisfy: "Keep the secret where secrets are kept, and let the param name it."
package interlock.rules.secrets

import rego.v1

deny contains {"id": "secrets.literal", "subject": class.class, "msg": msg} if {
	some class in input.plan.classes
	some name, param in class.params
	param.secret != "none"
	param.secret != "reference"
	msg := concat("", ["the param ", name, " of ", class.actor, " holds what looks like a secret itself"])
}
