package config

import (
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/credential"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// extraFacts are what extraFacts may name.
var extraFacts = map[string]job.Facts{
	"ref":             job.FactRef,
	"commit":          job.FactCommit,
	"job-url":         job.FactURL,
	"pipeline-source": job.FactPipelineSource,
}

// Facts are the facts that ExtraFacts names.
func (c *Configuration) Facts() job.Facts {
	var facts job.Facts
	for _, name := range c.ExtraFacts {
		facts |= extraFacts[name]
	}
	return facts
}

// validateGrants checks grants, and what they need beside them.
func (c *Configuration) validateGrants() field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("grants")
	if len(c.Agents) == 0 && len(c.Grants) == 0 {
		errs = append(errs, field.Required(field.NewPath("agents"), "must have at least one agent, or grants at least one grant"))
	}
	name := field.NewPath("cluster", "name")
	switch {
	case c.Cluster.Name == "" && len(c.Grants) > 0:
		errs = append(errs, field.Required(name, "credentials for grants carry the cluster's name"))
	case c.Cluster.Name != "" && !credential.IsClusterName(c.Cluster.Name):
		detail := "must be a DNS label that starts with a letter: lower-case letters, digits and dashes, at most 63"
		errs = append(errs, field.Invalid(name, c.Cluster.Name, detail))
	}
	names := sets.New[string]()
	for i := range c.Grants {
		g := &c.Grants[i]
		if names.Has(g.Name) {
			errs = append(errs, field.Duplicate(path.Index(i).Child("name"), g.Name))
		}
		names.Insert(g.Name)
		errs = append(errs, g.Validate(path.Index(i))...)
	}
	return errs
}

func (c *Configuration) validateIDTokens() field.ErrorList {
	var errs field.ErrorList
	path, t := field.NewPath("idTokens"), &c.IDTokens
	if t.Audience == "" {
		if t.Issuer != "" {
			errs = append(errs, field.Required(path.Child("audience"), "without an audience no ID token is accepted"))
		}
		return errs
	}
	if strings.TrimSpace(t.Audience) == "" || len(t.Audience) > maxAudience {
		errs = append(errs, field.Invalid(path.Child("audience"), t.Audience, fmt.Sprintf("must be 1 to %d characters and not blank", maxAudience)))
	}
	if u, err := url.Parse(t.Issuer); t.Issuer != "" && (err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http")) {
		errs = append(errs, field.Invalid(path.Child("issuer"), t.Issuer, "must be a URL, as in https://gitlab.example.com"))
	}
	if t.RequireLiveness && c.GitLab.TokenFile == "" {
		errs = append(errs, field.Required(field.NewPath("gitlab", "tokenFile"),
			"idTokens.requireLiveness asks GitLab about jobs, which needs an access token; false accepts a token until it expires"))
	}
	if c.Cluster.Name == "" && len(c.Grants) == 0 {
		errs = append(errs, field.Required(field.NewPath("grants"), "only a grant can admit a job with an ID token"))
	}
	return errs
}

// maxAudience bounds the audience, in bytes.
const maxAudience = 1024

// isAmbiguous says whether a name that is meant for a branch could be a tag's, which another person may push.
func isAmbiguous(r *policy.Requirements) bool {
	return len(r.Refs) > 0 && len(r.RefTypes) == 0 && !bool(r.ProtectedRef)
}

const ambiguousRefs = "a tag can have the name of a branch, and a user who may not push to the branch may be able to push the tag: " +
	"add refTypes, or protectedRef"

// grantWarnings are about grants, restrictions and blocked lists that are valid, and may not do what their author expects.
func (c *Configuration) grantWarnings() []Problem {
	var found []Problem
	warn := func(path, message string) { found = append(found, Problem{Path: path, Message: message}) }
	groupsUnknown := c.IDTokens.Audience != "" && c.GitLab.TokenFile == ""
	for i := range c.Grants {
		if len(c.Grants[i].Groups) > 0 && groupsUnknown {
			warn(fmt.Sprintf("grants[%d].groups", i), "ID tokens do not carry their project's groups: without gitlab.tokenFile this "+
				"grant admits no job that logs in with one")
		}
		if isAmbiguous(&c.Grants[i].Require) {
			warn(fmt.Sprintf("grants[%d].require.refs", i), ambiguousRefs)
		}
	}
	for i := range c.Restrictions {
		if len(c.Grants) > 0 && len(c.Restrictions[i].Agents) > 0 {
			warn(fmt.Sprintf("restrictions[%d].agents", i), "a restriction with agents does not match jobs that a grant admits: they use no agent")
		}
		if isAmbiguous(&c.Restrictions[i].Require) {
			warn(fmt.Sprintf("restrictions[%d].require.refs", i), ambiguousRefs)
		}
	}
	if len(c.Blocked.Groups) > 0 && groupsUnknown {
		warn("blocked.groups", "the groups of jobs with ID tokens are not known without gitlab.tokenFile, so no group blocks such a job")
	}
	return found
}
