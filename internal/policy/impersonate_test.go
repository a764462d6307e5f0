package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestImpersonation(t *testing.T) {
	withExtra := func(key string) job.Impersonate {
		return job.Impersonate{Username: "u", Extra: []job.ExtraKey{{Key: key, Values: []string{"1"}}}}
	}
	anyExtra := policy.Impersonate{Users: []string{"u"}, ExtraKeys: []string{"*"}}
	rows := []struct {
		name     string
		identity job.Impersonate
		allowed  policy.Impersonate
		refusal  string // empty: allowed
	}{
		{name: "nothing is allowed", identity: job.Impersonate{Username: "u"}, refusal: `user "u"`},
		{name: "exact user", identity: job.Impersonate{Username: "u"}, allowed: policy.Impersonate{Users: []string{"u"}}},
		{name: "another user", identity: job.Impersonate{Username: "user"}, allowed: policy.Impersonate{Users: []string{"u"}}, refusal: `user "user"`},
		{name: "user by prefix", identity: job.Impersonate{Username: "ci:deploy"}, allowed: policy.Impersonate{Users: []string{"ci:*"}}},
		{name: "the prefix itself", identity: job.Impersonate{Username: "ci:"}, allowed: policy.Impersonate{Users: []string{"ci:*"}}},
		{name: "no prefix of the user", identity: job.Impersonate{Username: "x-ci:a"}, allowed: policy.Impersonate{Users: []string{"ci:*"}}, refusal: `user "x-ci:a"`},
		{name: "any user", identity: job.Impersonate{Username: "jane"}, allowed: policy.Impersonate{Users: []string{"*"}}},
		{name: "system user by any", identity: job.Impersonate{Username: "system:admin"}, allowed: policy.Impersonate{Users: []string{"*"}},
			refusal: `user "system:admin"`},
		{name: "system user by a prefix of system:", identity: job.Impersonate{Username: "system:admin"}, allowed: policy.Impersonate{Users: []string{"sys*"}},
			refusal: `user "system:admin"`},
		{name: "system user by its own name", identity: job.Impersonate{Username: "system:serviceaccount:ns:sa"},
			allowed: policy.Impersonate{Users: []string{"system:serviceaccount:ns:sa"}}},
		{name: "system group by any", identity: job.Impersonate{Username: "u", Groups: []string{"system:masters"}},
			allowed: policy.Impersonate{Users: []string{"u"}, Groups: []string{"*"}}, refusal: `group "system:masters"`},
		{name: "system group by its own name", identity: job.Impersonate{Username: "u", Groups: []string{"system:authenticated"}},
			allowed: policy.Impersonate{Users: []string{"u"}, Groups: []string{"system:authenticated"}}},
		{name: "one of two groups", identity: job.Impersonate{Username: "u", Groups: []string{"a", "b"}},
			allowed: policy.Impersonate{Users: []string{"u"}, Groups: []string{"a"}}, refusal: `group "b"`},
		{name: "uid", identity: job.Impersonate{Username: "u", UID: "7"}, allowed: policy.Impersonate{Users: []string{"u"}, UIDs: []string{"7"}}},
		{name: "another uid", identity: job.Impersonate{Username: "u", UID: "7"}, allowed: policy.Impersonate{Users: []string{"u"}}, refusal: `uid "7"`},
		{name: "extra key", identity: withExtra("example.com/team"), allowed: policy.Impersonate{Users: []string{"u"}, ExtraKeys: []string{"Example.com/*"}}},
		{name: "extra key in capitals", identity: withExtra("Example.com/Team"), allowed: policy.Impersonate{Users: []string{"u"}, ExtraKeys: []string{"example.com/team"}}},
		{name: "another extra key", identity: withExtra("example.com/other"), allowed: policy.Impersonate{Users: []string{"u"}, ExtraKeys: []string{"example.com/team"}},
			refusal: `extra key "example.com/other"`},
		{name: "any extra key", identity: withExtra("x"), allowed: anyExtra},
		{name: "jobgate's", identity: withExtra("jobgate.io/denied"), allowed: anyExtra, refusal: `extra key "jobgate.io/denied"`},
		{name: "GitLab's, in capitals", identity: withExtra("Agent.GitLab.com/ci_job_id"), allowed: anyExtra, refusal: `extra key "agent.gitlab.com/ci_job_id"`},
		{name: "Kubernetes', of a subdomain", identity: withExtra("authentication.kubernetes.io/credential-id"), allowed: anyExtra,
			refusal: `extra key "authentication.kubernetes.io/credential-id"`},
		{name: "a domain that only ends alike", identity: withExtra("notjobgate.io/x"), allowed: anyExtra},
		{name: "a domain that only begins alike", identity: withExtra("jobgate.io.example.com/x"), allowed: anyExtra},
		{name: "a reserved domain without a key", identity: withExtra("jobgate.io"), allowed: anyExtra},
		{name: "hostile", identity: job.Impersonate{Username: "a\nb\x1b" + string(make([]byte, 100))}, allowed: policy.Impersonate{Users: []string{"u"}},
			refusal: `user "a\nb\x1b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00` +
				`\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			compiled := policy.CompileImpersonate(row.allowed)
			if got := compiled.Refusal(&row.identity); got != row.refusal {
				t.Errorf("refusal is %q, want %q", got, row.refusal)
			}
		})
	}
}

func TestImpersonate_Validation(t *testing.T) {
	const reserved = "must not be under agent.gitlab.com, jobgate.io, kubernetes.io or a subdomain of one"
	const exact = "must be an exact name: with * it allows nothing that begins with system:"
	rows := []struct {
		name   string
		lists  policy.Impersonate
		errors []string
	}{
		{name: "nothing"},
		{name: "exact names, prefixes and all", lists: policy.Impersonate{
			Users: []string{"system:serviceaccount:ns:sa", "ci:*"}, Groups: []string{"*", "sys*"}, UIDs: []string{"7"}, ExtraKeys: []string{"example.com/*", "team"},
		}},
		{name: "blank", lists: policy.Impersonate{Users: []string{""}, Groups: []string{" "}, UIDs: []string{""}, ExtraKeys: []string{"\t"}}, errors: []string{
			`i.users[0]: Invalid value: "": must not be blank`, `i.groups[0]: Invalid value: " ": must not be blank`,
			`i.uids[0]: Invalid value: "": must not be blank`, `i.extraKeys[0]: Invalid value: "\t": must not be blank`,
		}},
		{name: "a star before the end", lists: policy.Impersonate{Users: []string{"a*b", "*a*"}}, errors: []string{
			`i.users[0]: Invalid value: "a*b": must have * only at its end`, `i.users[1]: Invalid value: "*a*": must have * only at its end`,
		}},
		{name: "a prefix of Kubernetes' own names, which allows none of them", lists: policy.Impersonate{
			Users: []string{"system:serviceaccount:ci:*"}, Groups: []string{"system:*"},
		}, errors: []string{`i.users[0]: Invalid value: "system:serviceaccount:ci:*": ` + exact, `i.groups[0]: Invalid value: "system:*": ` + exact}},
		{name: "reserved keys", lists: policy.Impersonate{ExtraKeys: []string{"agent.gitlab.com/id", "jobgate.io/*", "x.Kubernetes.io/a"}}, errors: []string{
			`i.extraKeys[0]: Invalid value: "agent.gitlab.com/id": ` + reserved, `i.extraKeys[1]: Invalid value: "jobgate.io/*": ` + reserved,
			`i.extraKeys[2]: Invalid value: "x.Kubernetes.io/a": ` + reserved,
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.errors, texts(row.lists.Validate(field.NewPath("i")))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}
