package policy

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
)

// Impersonate lists what an agent's access_as: impersonate may become. An entry is an exact value, or a prefix that ends
// in "*"; an empty list allows nothing.
//
// KAS needs no such list: there, agentk's ServiceAccount is asked for the impersonate verb. A webhook's answer is final,
// so without the list the author of an agent's config.yaml could name system:masters.
type Impersonate struct {
	Users     []string `json:"users" doc:"User names." example:"[\"deployer-*\"]"`
	Groups    []string `json:"groups" doc:"Group names. A name that begins with system: must be listed exactly." cost:"* allows kubeadm:cluster-admins, too, and every other group that RBAC has bound." example:"[deployers]"`
	UIDs      []string `json:"uids" doc:"UIDs of users." example:"[\"1234\"]"`
	ExtraKeys []string `json:"extraKeys" doc:"Keys of extras. None may be under agent.gitlab.com, jobgate.io, kubernetes.io or a subdomain of one." example:"[example.com/team]"`
}

// system begins Kubernetes' own users and groups. Only an exact entry allows such a name.
const system = "system:"

// reservedDomains are those whose extra keys say who vouches for an identity, or carry Kubernetes' own meaning.
func reservedDomains() [3]string {
	return [...]string{"agent.gitlab.com", "jobgate.io", "kubernetes.io"}
}

// Validate finds entries that could never match, or never be allowed.
func (i *Impersonate) Validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, list := range []struct {
		name    string
		entries []string
	}{{"users", i.Users}, {"groups", i.Groups}, {"uids", i.UIDs}, {"extraKeys", i.ExtraKeys}} {
		child := path.Child(list.name)
		errs = append(errs, NoBlank(list.entries, child)...)
		for index, entry := range list.entries {
			switch prefix, isPrefix := strings.CutSuffix(entry, "*"); {
			case strings.Contains(prefix, "*"):
				errs = append(errs, field.Invalid(child.Index(index), entry, "must have * only at its end"))
			case isPrefix && strings.HasPrefix(prefix, system):
				errs = append(errs, field.Invalid(child.Index(index), entry, "must be an exact name: with * it allows nothing that begins with system:"))
			}
		}
	}
	for index, key := range i.ExtraKeys {
		if isReserved(strings.ToLower(key)) {
			domains := reservedDomains()
			detail := "must not be under " + strings.Join(domains[:], ", ") + " or a subdomain of one"
			errs = append(errs, field.Invalid(path.Child("extraKeys").Index(index), key, detail))
		}
	}
	return errs
}

// Impersonation is Impersonate, compiled.
type Impersonation struct{ users, groups, uids, extraKeys allowlist }

// CompileImpersonate makes the lists quick to ask.
func CompileImpersonate(i Impersonate) Impersonation {
	return Impersonation{
		users:     newAllowlist(i.Users),
		groups:    newAllowlist(i.Groups),
		uids:      newAllowlist(i.UIDs),
		extraKeys: newAllowlist(lower(i.ExtraKeys)),
	}
}

// lower makes extra keys comparable: the API server reads them in lower case.
func lower(keys []string) []string {
	lowered := make([]string, len(keys))
	for i, k := range keys {
		lowered[i] = strings.ToLower(k)
	}
	return lowered
}

// Refusal names the first part of an identity that is not allowed, quoted and cut; empty when all of it is.
func (a *Impersonation) Refusal(i *job.Impersonate) string {
	if !a.users.allows(i.Username) {
		return fmt.Sprintf("user %.64q", i.Username)
	}
	if i.UID != "" && !a.uids.allows(i.UID) {
		return fmt.Sprintf("uid %.64q", i.UID)
	}
	for _, g := range i.Groups {
		if !a.groups.allows(g) {
			return fmt.Sprintf("group %.64q", g)
		}
	}
	for _, e := range i.Extra {
		if key := strings.ToLower(e.Key); isReserved(key) || !a.extraKeys.allows(key) {
			return fmt.Sprintf("extra key %.64q", key)
		}
	}
	return ""
}

// isReserved takes a lower-case key.
func isReserved(key string) bool {
	domain, _, found := strings.Cut(key, "/")
	if !found {
		return false
	}
	for _, reserved := range reservedDomains() {
		if domain == reserved || strings.HasSuffix(domain, "."+reserved) {
			return true
		}
	}
	return false
}

type allowlist struct {
	exact    map[string]struct{}
	prefixes []string
}

func newAllowlist(entries []string) allowlist {
	l := allowlist{exact: make(map[string]struct{}, len(entries))}
	for _, e := range entries {
		if p, isPrefix := strings.CutSuffix(e, "*"); isPrefix {
			l.prefixes = append(l.prefixes, p)
		} else {
			l.exact[e] = struct{}{}
		}
	}
	return l
}

func (l *allowlist) allows(value string) bool {
	if _, ok := l.exact[value]; ok {
		return true
	}
	if strings.HasPrefix(value, system) {
		return false
	}
	for _, p := range l.prefixes {
		if strings.HasPrefix(value, p) {
			return true
		}
	}
	return false
}
