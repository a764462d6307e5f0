package config_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse_DefaultsAreTheDocumentedOnes(t *testing.T) {
	documented := parse(t, read(t, "testdata/documented.yaml"))
	minimal := parse(t, read(t, "testdata/minimal.yaml"))
	if diff := cmp.Diff(documented, minimal, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the defaults are not as documented (-documented +default):\n%s", diff)
	}
}

func TestParse_FillsEveryField(t *testing.T) {
	got := parse(t, read(t, "testdata/restricted.yaml"))
	want := config.Default()
	want.APIVersion, want.Kind = config.APIVersion, config.Kind
	want.GitLab.URL = "https://gitlab.example.com/gitlab"
	want.GitLab.TokenFile = "/etc/jobgate/token"
	want.Agents = []config.Agent{
		{
			ID: 4, Name: "acme/infra:production",
			ServiceAccount: config.ServiceAccount{Namespace: "deploy", Name: "ci.deployer"},
			Impersonate: policy.Impersonate{
				Users:     []string{"deployer-*", "admin"},
				Groups:    []string{"*"},
				UIDs:      []string{"1234"},
				ExtraKeys: []string{"example.com/team"},
			},
		},
		{ID: 9223372036854775807},
	}
	want.Restrictions = []policy.Restriction{
		{
			Name:       "production",
			Agents:     []int64{4},
			Namespaces: []string{"prod", "prod-*"},
			Verbs:      []string{"create", "update", "patch", "delete", "deletecollection"},
			APIGroups:  []string{"apps", ""},
			Resources:  []string{"deployments", "deployments/scale", "*"},
			Require: policy.Requirements{
				Environments:     []string{"production", "prod/*"},
				EnvironmentTiers: []string{"production"},
				ProtectedRef:     true,
				Projects:         []int64{150},
				Groups:           []int64{23},
				Roles:            []string{"maintainer", "owner"},
			},
		},
		{Name: "anything else", Require: policy.Requirements{Roles: []string{"developer"}}},
	}
	want.Serving = config.Serving{
		Address:       "0.0.0.0:9443",
		CertFile:      "/etc/jobgate/tls/tls.crt",
		KeyFile:       "/etc/jobgate/tls/tls.key",
		ClientCAFile:  "/etc/jobgate/tls/ca.crt",
		ClientNames:   []string{"kube-apiserver"},
		HealthAddress: "127.0.0.1:9444",
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(config.Configuration{}, "Warnings")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParse_KeepsExplicitZeroValues(t *testing.T) {
	got := parse(t, read(t, "testdata/minimal.yaml")+"cache: {freshFor: 0s, staleFor: 0s, rejectedFor: \"0\"}\n")
	want := config.Cache{MaxJobs: 65536, MaxRejected: 65536}
	if diff := cmp.Diff(want, got.Cache); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	off := parse(t, edit(t, "agents:", "  filtersProtectedBranches: false\nagents:"))
	if off.GitLab.FiltersProtectedBranches {
		t.Error("filtersProtectedBranches: false became true")
	}
}

func TestParse_NullLeavesTheDefault(t *testing.T) {
	got := parse(t, read(t, "testdata/minimal.yaml")+"cache:\nrestrictions: null\nexplainRejections: ~\n")
	if got.Cache.FreshFor.Duration != 10*time.Second || got.Restrictions != nil || got.ExplainRejections {
		t.Errorf("got %+v", got)
	}
}

func TestParse_ReadsJSON(t *testing.T) {
	got := parse(t, `{"apiVersion": "jobgate.io/v1alpha1", "kind": "Configuration",
		"gitlab": {"url": "https://gitlab.example.com"},
		"agents": [{"id": 4, "name": "path/to/agent/project:agent-name"}],
		"serving": {"certFile": "/etc/jobgate/tls/tls.crt", "keyFile": "/etc/jobgate/tls/tls.key"}}`)
	if diff := cmp.Diff(parse(t, read(t, "testdata/minimal.yaml")), got); diff != "" {
		t.Errorf("-YAML +JSON:\n%s", diff)
	}
}

func TestParse_ListsAllProblemsAtOnce(t *testing.T) {
	got := problems(t, read(t, "testdata/broken.yaml"))
	want := []string{
		`1: apiVersion: must be jobgate.io/v1alpha1, not "jobgate.io/v1"`,
		`4: gitlab.url: must begin with https://, because job tokens would travel unencrypted; allowPlainHTTP: true permits it`,
		`6: gitlab.timeout: duplicate key, first set on line 5`,
		`6: gitlab.timeout: must be a duration, such as 10s or 2m30s, not "ten seconds"`,
		`7: gitlab.maxInFlight: must be an integer, not a string`,
		`8: gitlab.rateLimits: unknown key`,
		`9: gitlab.rateLimit.burst: must be at least 1, not 0`,
		`9: gitlab.rateLimit.requestsPerSecond: must be above 0, not 0`,
		`12: agents[0].name: must be as in path/to/project:agent-name, not "production"`,
		`13: agents[1].id: duplicate value: 4`,
		`15: agents[1].impersonate.users[0]: must have * only at its end, not "a*b"`,
		`16: agents[1].impersonate.extraKeys[0]: ` +
			`must not be under agent.gitlab.com, jobgate.io, kubernetes.io or a subdomain of one: "jobgate.io/denied"`,
		`17: agents[2].id: must be an integer, not a string`,
		`18: agents[3]: must be an object, not 6`,
		`21: restrictions[0].namespaces[0]: must not be blank: ""`,
		`22: restrictions[0].require.protectedRef: must be true or false, not a string`,
		`23: restrictions[1].name: duplicate value: "production"`,
		`25: restrictions[1].require: must have at least one requirement`,
		`26: explain: unknown key`,
		`28: cache.freshFor: must be at least 0s, not -1s`,
		`29: cache.staleFor: must be a duration, such as 10s or 2m30s, not 60`,
		`30: cache.maxJobs: must be from 1 to 16777216, not 0`,
		`31: serving.certFile: is required, for example pki/serving.pem`,
		`31: serving.clientCAFile: is required: other machines can reach serving.address, ` +
			`so the API server must prove itself with a certificate`,
		`31: serving.keyFile: is required, for example pki/serving.pem`,
		`33: serving.clientNames: must be a list, not a string`,
		`34: serving.healthAddress: must be host:port with a port from 0 to 65535, not "nine"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParse_RefusesWhatIsNotOneStrictDocument(t *testing.T) {
	for _, row := range []struct {
		name, text, want string
	}{
		{"empty", "", "1: the file is empty"},
		{"only a comment", "# nothing\n", "1: the file is empty"},
		{"only a document marker", "---\n", "1: the file is empty"},
		{"a list", "# agents\n- id: 4\n", "2: must be an object, not a list"},
		{"a string", "configuration\n", "1: must be an object, not a string"},
		{"two documents", "kind: A\n---\nkind: B\n", "2: the file must have only one YAML document"},
		{"an empty second document", "kind: A\n---\n", "2: the file must have only one YAML document"},
		{
			"a second document that is no YAML", "kind: A\n---\nkind: [\n",
			"3: invalid YAML: did not find expected node content",
		},
		{"a tab", "gitlab:\n\turl: x\n", "2: invalid YAML: found character that cannot start any token"},
		{"bad indentation", "a: 1\nb:\n  c: 1\n d: 2\n", "4: invalid YAML: did not find expected key"},
		{"an open bracket", "a: 1\nb: [1, 2\nc: 3\n", "2: invalid YAML: did not find expected ',' or ']'"},
		{"an open bracket on the first line", "a: [1, 2\nc: 3\n", "1: invalid YAML: did not find expected ',' or ']'"},
		{"a control character", "a: 1\nb: \x01\n", "2: invalid YAML: control characters are not allowed"},
		{"no UTF-8", "a: 1\nb: \xff\n", "2: invalid YAML: invalid leading UTF-8 octet"},
		{
			"an unquoted pattern", "a: 1\nb:\n- *-prod\n",
			"3: invalid YAML: unknown anchor '-prod' referenced: put what begins with * in quotes",
		},
		{
			"an unquoted star", "a: 1\nb:\n- x\n- *\n",
			"4: invalid YAML: did not find expected alphabetic or numeric character: " +
				"put what begins with * in quotes",
		},
		{"a tag on the root", "!configuration\na: 1\n", "1: must not have a YAML tag"},
		{"too large", "a: " + strings.Repeat("x", 1<<20), "1: must not be larger than 1048576 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff([]string{row.want}, problems(t, row.text)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	t.Run("deep nesting", func(t *testing.T) {
		if got := problems(t, "a: "+strings.Repeat("[", 1<<19)); len(got) != 1 {
			t.Errorf("got %q", got)
		}
	})
}

// parse reads what has to be valid.
func parse(t *testing.T, text string) *config.Configuration {
	t.Helper()
	c, err := config.Parse("config.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// problems reads what has to be invalid.
func problems(t *testing.T, text string) []string {
	t.Helper()
	c, err := config.Parse("config.yaml", []byte(text))
	return listed(t, c, err)
}

func listed(t *testing.T, c *config.Configuration, err error) []string {
	t.Helper()
	var invalid *config.Error
	if !errors.As(err, &invalid) || c != nil {
		t.Fatalf("got %v and %v, want no configuration and a *config.Error", c, err)
	}
	lines := make([]string, 0, len(invalid.Problems))
	for _, problem := range invalid.Problems {
		lines = append(lines, problem.String())
	}
	return lines
}

// edit replaces something in the minimal configuration, whose lines are
//
//	 1  apiVersion: jobgate.io/v1alpha1
//	 2  kind: Configuration
//	 3  gitlab:
//	 4    url: https://gitlab.example.com
//	 5  agents:
//	 6  - id: 4
//	 7    name: path/to/agent/project:agent-name
//	 8  serving:
//	 9    certFile: /etc/jobgate/tls/tls.crt
//	10    keyFile: /etc/jobgate/tls/tls.key
func edit(t *testing.T, from, to string) string {
	t.Helper()
	text := read(t, "testdata/minimal.yaml")
	if strings.Count(text, from) != 1 {
		t.Fatalf("the minimal configuration has %q %d times", from, strings.Count(text, from))
	}
	return strings.Replace(text, from, to, 1)
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
