package authz

import (
	"fmt"

	"github.com/jobgate/jobgate/internal/policy"
)

// Rule is what a request failed, in one word for metrics and logs.
type Rule string

// The rules, in the order in which they are judged.
const (
	RuleDiscovery     Rule = "discovery"           // never denies: which requests are left to RBAC
	RuleMalformed     Rule = "malformed"           // an extra is not what jobgate writes
	RuleUnknownAgent  Rule = "unknown_agent"       // the agent is not one of this cluster, or the cluster is another
	RuleDeniedLogin   Rule = "denied_login"        // the identity itself carries the refusal
	RuleEnded         Rule = "ended"               // GitLab has rejected the job since
	RuleUnconfirmed   Rule = "unconfirmed"         // GitLab could not be asked for too long
	RuleNotListed     Rule = "not_listed"          // GitLab no longer lists the agent for the job
	RuleConfiguration Rule = "agent_configuration" // the agent's entry cannot be used
	RuleContradiction Rule = "contradiction"       // the extras and what is known of the job differ
	RuleBlocked       Rule = "blocked"             // the cluster's admin blocks the job
	RuleNoGrant       Rule = "no_grant"            // no grant admits the job any more
	RuleCIAccess      Rule = "ci_access"           // the agent's entry asks for an environment or a protected ref
	RuleImpersonation Rule = "impersonation"       // would escape a restriction
	RuleRestriction   Rule = "restriction"         // a restriction of the cluster's admin
)

// Bounds of what leaves in messages and records, in characters.
const (
	maxMessage = 1024
	maxShort   = 64
	maxCause   = 256 // of an error that is part of a message
)

// Denial is a definite no.
type Denial struct {
	Rule Rule
	// Restriction is the restriction's name, where the rule is one.
	Restriction string
	// Message is shown to the author of the job by kubectl. It says what would have satisfied the rule, is at most 1,024
	// printable characters, and begins with "jobgate: ".
	Message string
}

// prefix tells the reader of a message where it comes from.
const prefix = "jobgate: "

func deny(r Rule, format string, args ...any) *Denial {
	return &Denial{Rule: r, Message: policy.Printable(prefix+fmt.Sprintf(format, args...), maxMessage)}
}

// short bounds what a record repeats of a request.
func short(text string) string { return policy.Printable(text, maxShort) }
