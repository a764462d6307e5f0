package rule

import "fmt"

// CIAccess is what the ci_access entry of an agent asks of a job that GitLab lists for the agent.
type CIAccess struct {
	// Environments are patterns as the agent's authors wrote them. An empty list asks for nothing; a blank pattern
	// matches nothing, and does not make a list empty.
	Environments []string
	// ProtectedBranchesOnly asks for a protected branch or tag.
	ProtectedBranchesOnly bool
	// ProtectionVouched says that GitLab lists the agent only for jobs on protected refs where the entry asks for it. It
	// does from 17.10 on; before, it can ignore protected_branches_only altogether.
	ProtectionVouched bool
}

// Job is what is known of the job that a ci_access entry is for.
type Job struct {
	Environment Environment
	Ref         string // empty while it is not known
	// RefProtected and RefUnprotected say what is known of the ref's protection: at most one of them is true.
	RefProtected   bool
	RefUnprotected bool
	// EnvironmentUnknown and ProtectionUnknown say what would teach a fact that could not be learnt; empty for a general
	// hint.
	EnvironmentUnknown string
	ProtectionUnknown  string
}

// Asks says whether the entry leaves anything to be checked.
func (c *CIAccess) Asks() bool {
	return len(c.Environments) > 0 || (c.ProtectedBranchesOnly && !c.ProtectionVouched)
}

// NeedsEnvironmentName says whether the job's full environment name would be used, were it known.
func (c *CIAccess) NeedsEnvironmentName() bool { return hasWildcard(c.Environments) }

// NeedsProtection says whether the protection of the job's ref has to be known.
func (c *CIAccess) NeedsProtection() bool { return c.ProtectedBranchesOnly && !c.ProtectionVouched }

// Refusal says why the job does not satisfy the entry, as the rest of a sentence about the entry; empty when it does.
//
// By listing the agent GitLab has said that the job does. Its exact matches are exact, so they stand; its wildcards are
// unanchored, so where the list has one the whole list is matched here. A name that could not be learnt leaves GitLab's
// answer standing.
func (c *CIAccess) Refusal(j *Job) string {
	if len(c.Environments) > 0 {
		switch e := j.Environment; {
		case !e.Exists():
			return fmt.Sprintf("it is for environments %s, and the job has none", List(c.Environments))
		case e.Name != "" && hasWildcard(c.Environments) && !c.names(e.Name):
			return fmt.Sprintf("it is for environments %s, and the job's is %s", List(c.Environments), e)
		}
	}
	if c.NeedsProtection() && !j.RefProtected {
		return "it has protected_branches_only, and " + j.ProtectionShortfall()
	}
	return ""
}

// names says whether the list names an environment. A pattern that is listed is used for few jobs and few requests, so
// none is compiled.
func (c *CIAccess) names(environment string) bool {
	for _, p := range c.Environments {
		if !isBlank(p) && matches(p, environment) {
			return true
		}
	}
	return false
}

// ProtectionShortfall says what keeps the job's ref from counting as protected.
func (j *Job) ProtectionShortfall() string {
	ref := "the job's ref"
	if j.Ref != "" {
		ref = "the ref " + Quote(j.Ref)
	}
	if j.RefUnprotected {
		return ref + " is not protected"
	}
	return fmt.Sprintf("whether %s is protected could not be learnt: %s", ref,
		hint(j.ProtectionUnknown, "give jobgate a tokenFile with the scope read_api"))
}

// NameShortfall says what keeps the full name of the job's environment from being known.
func (j *Job) NameShortfall() string {
	return fmt.Sprintf("the full name of the environment with %s could not be learnt: %s", j.Environment,
		hint(j.EnvironmentUnknown, "let the project's job tokens read environments, or give jobgate a tokenFile with the "+
			"scope read_api"))
}

func hint(particular, general string) string {
	if particular == "" {
		return general
	}
	return Printable(particular, maxHint)
}
