package install_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/install"
)

// own is a small AuthorizationConfiguration with jobgate in it, in the place of the one that is shipped.
const own = header + "authorizers:\n" + node + jobgateItem + rbac

// jobgateItem is what own says of jobgate.
const jobgateItem = `- type: Webhook
  name: jobgate
  webhook:
    # why
    timeout: 3s
    subjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo:
      type: KubeConfigFile
      kubeConfigFile: /new
`

const header = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n"

func webhookItem(name string) string {
	return "- type: Webhook\n  name: " + name + "\n  webhook:\n    timeout: 1s\n    subjectAccessReviewVersion: v1beta1\n" +
		"    failurePolicy: NoOpinion\n    connectionInfo: {type: InClusterConfig} # its own\n"
}

const (
	node = "- type: Node\n  name: node\n"
	rbac = "- type: RBAC\n  name: rbac\n"
)

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}

func TestMergeAuthorizers_ChangesNothingElse(t *testing.T) {
	list := header + "authorizers:\n"
	for _, row := range []struct{ name, existing, want string }{
		{"before RBAC, after Node", list + node + rbac, list + node + jobgateItem + rbac},
		{"RBAC alone", list + rbac, list + jobgateItem + rbac},
		{"no RBAC", list + node, list + node + jobgateItem},
		{"no RBAC, no line break at the end", list + strings.TrimSuffix(node, "\n"), list + node + jobgateItem},
		{"before a webhook, which may allow", list + node + webhookItem("a") + rbac, list + node + jobgateItem + webhookItem("a") + rbac},
		{
			"webhooks keep their order", list + webhookItem("b") + node + webhookItem("a") + rbac,
			list + jobgateItem + webhookItem("b") + node + webhookItem("a") + rbac,
		},
		{
			"before AlwaysAllow", list + node + "- {type: AlwaysAllow, name: all}\n",
			list + node + jobgateItem + "- {type: AlwaysAllow, name: all}\n",
		},
		{
			"comments stay with what follows them, and blank lines go",
			"# top\n\n" + header + "\n# list\nauthorizers: # here\n\n# first\n" + node + "\n# roles\n# and bindings\n" + rbac + "\n# end\n",
			"# top\n\n" + header + "# list\nauthorizers: # here\n# first\n" + node + jobgateItem + "# roles\n# and bindings\n" + rbac + "\n# end\n",
		},
		{"on one line", header + "authorizers: [{type: RBAC, name: rbac}]\n", list + jobgateItem + "- {type: RBAC, name: rbac}\n"},
		{
			"JSON", `{"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration", "authorizers": [{"type": "RBAC", "name": "rbac"}]}`,
			"\"apiVersion\": \"apiserver.config.k8s.io/v1\"\n\"kind\": \"AuthorizationConfiguration\"\n\"authorizers\":\n" + jobgateItem +
				"- {\"type\": \"RBAC\", \"name\": \"rbac\"}\n",
		},
		{
			"list before the header", "authorizers:\n" + node + rbac + "# head\n" + header,
			"authorizers:\n" + node + jobgateItem + rbac + "# head\n" + header,
		},
		{
			"text of several lines", list + node + strings.Replace(webhookItem("a"), " # its own\n", "\n    matchConditions:\n    - expression: |\n"+
				"        true &&\n        # no comment\n        true\n", 1) + rbac,
			list + node + jobgateItem + strings.Replace(webhookItem("a"), " # its own\n", "\n    matchConditions:\n    - expression: |\n"+
				"        true &&\n        # no comment\n        true\n", 1) + rbac,
		},
		{
			"text that looks like a comment, before jobgate", list + scalarItem("a") + "# mine\n" + webhookItem("jobgate") + rbac,
			list + scalarItem("a") + "# mine\n" + jobgateItem + rbac,
		},
		{
			"text that looks like a comment, in another jobgate", list + scalarItem("jobgate") + rbac, list + jobgateItem + rbac,
		},
		{"v1beta1", strings.Replace(list, "/v1", "/v1beta1", 1) + rbac, strings.Replace(list, "/v1", "/v1beta1", 1) + jobgateItem + rbac},
		{"v1alpha1", strings.Replace(list, "/v1", "/v1alpha1", 1) + rbac, strings.Replace(list, "/v1", "/v1alpha1", 1) + jobgateItem + rbac},
		{"jobgate is there", list + node + jobgateItem + rbac, list + node + jobgateItem + rbac},
		{
			"jobgate is there in other words", list + strings.Replace(jobgateItem, "timeout: 3s", "timeout: '3000ms' # mine", 1) + rbac,
			list + strings.Replace(jobgateItem, "timeout: 3s", "timeout: '3000ms' # mine", 1) + rbac,
		},
		{
			"another jobgate is there", list + webhookItem("a") + "# above\n" + webhookItem("jobgate") + "\n# roles\n" + rbac,
			list + webhookItem("a") + "# above\n" + jobgateItem + "# roles\n" + rbac,
		},
		{"another jobgate is the last", list + node + webhookItem("jobgate"), list + node + jobgateItem},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := install.MergeAuthorizers([]byte(row.existing), []byte(own))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			again, err := install.MergeAuthorizers(got, []byte(own))
			if err != nil || !bytes.Equal(again, got) {
				t.Errorf("the second time it becomes (%v):\n%s", err, again)
			}
			if err := install.CheckAuthorizers(got); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMergeAuthorizers_RefusesWhatItCannotKeep(t *testing.T) {
	list := header + "authorizers:\n"
	for _, row := range []struct{ name, existing, want string }{
		{"empty", "\n", "the file is empty"},
		{"no YAML", "a: b: c\n", "not YAML"},
		{"another kind", "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: []\n", "AuthorizationConfiguration"},
		{"another version", strings.Replace(list, "/v1", "/v2", 1) + rbac, "apiserver.config.k8s.io/v2"},
		{"an unknown field", list + rbac + "  colour: red\n", `unknown field "authorizers[0].colour"`},
		{"a field twice", list + rbac + "  name: again\n", `"name" already set`},
		{"two documents", list + rbac + "---\n" + list + rbac, "a second YAML document"},
		{"no authorizers", header, "authorizers: Required value"},
		{"an unknown type", list + "- {type: Opa, name: opa}\n", `Unsupported value: "Opa"`},
		{"a type twice", list + rbac + "- {type: RBAC, name: more}\n", `authorizers[1].type: Duplicate value: "RBAC"`},
		{"a name twice", list + node + "- {type: RBAC, name: node}\n", `authorizers[1].name: Duplicate value: "node"`},
		{"jobgate twice", list + jobgateItem + jobgateItem + rbac, `authorizers[1].name: Duplicate value: "jobgate"`},
		{"no name", list + "- {type: RBAC}\n", "authorizers[0].name: Invalid value"},
		{"a webhook without one", list + "- {type: Webhook, name: a}\n", "authorizers[0].webhook: Required value"},
		{"RBAC with a webhook", list + strings.Replace(webhookItem("a"), "type: Webhook", "type: RBAC", 1), "authorizers[0].webhook: Forbidden"},
		{"jobgate's name for another", list + "- {type: RBAC, name: jobgate}\n", "is jobgate's own"},
		{"jobgate after RBAC", list + rbac + jobgateItem, "authorizer rbac comes before jobgate"},
		{"another jobgate after AlwaysAllow", list + "- {type: AlwaysAllow, name: all}\n" + webhookItem("jobgate"), "authorizer all comes before jobgate"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := install.MergeAuthorizers([]byte(row.existing), []byte(own))
			var refused *install.AuthorizersError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want something with %q, and\n%s", err, row.want, got)
			}
		})
	}
}

// scalarItem is a webhook that ends with a line of text that begins as a comment does.
func scalarItem(name string) string {
	return strings.Replace(webhookItem(name), " # its own\n", "\n    matchConditions:\n    - expression: |\n        true\n        # no comment\n", 1)
}

// A change of one part could change what others repeat.
func TestMergeAuthorizers_RefusesAliases(t *testing.T) {
	items := strings.Replace(webhookItem("jobgate"), "timeout: 1s", "timeout: &t 1s", 1) +
		strings.Replace(webhookItem("a"), "timeout: 1s", "timeout: *t", 1)
	_, err := install.MergeAuthorizers([]byte(header+"authorizers:\n"+items+rbac), []byte(own))
	var refused *install.AuthorizersError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "it uses an alias (*name)") {
		t.Errorf("got %v", err)
	}
}

func TestCheckAuthorizers(t *testing.T) {
	shipped, err := os.ReadFile("../../manifests/authorization-configuration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	list := header + "authorizers:\n"
	for _, row := range []struct{ name, text, want string }{
		{"shipped", string(shipped), ""},
		{"after another webhook", list + webhookItem("a") + jobgateItem + rbac, ""},
		{"none", list + rbac, "no authorizer of type Webhook and name jobgate"},
		{"too late", list + rbac + jobgateItem, "comes before jobgate"},
		{"broken", list + "- x\n", "AuthorizationConfiguration"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := install.CheckAuthorizers([]byte(row.text))
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestLostAuthorizers(t *testing.T) {
	list := header + "authorizers:\n"
	before := []byte(list + webhookItem("a") + jobgateItem + rbac)
	if diff := cmp.Diff([]string{"a"}, install.LostAuthorizers(before, []byte(list+jobgateItem+rbac))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if lost := install.LostAuthorizers([]byte(list+rbac), before); len(lost) > 0 {
		t.Errorf("got %v", lost)
	}
}
