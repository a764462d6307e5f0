package e2e_test

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/kubectl"
)

//go:embed testdata/admission.yaml
var admissionManifest string

// shipped is a file or folder of the manifests that jobgate ships.
func shipped(t *testing.T, elem ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"..", "manifests"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// mutatingPolicies are what stamps need.
var mutatingPolicies = feature{since: "1.36", name: "MutatingAdmissionPolicy v1"}

// policyFiles are the shipped policies that the API server under test knows.
func policyFiles(t *testing.T) (files []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(shipped(t, "admission"), "*.yaml"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no policies: %v", err)
	}
	for _, file := range all {
		if policyFeature(file).isThere() {
			files = append(files, file)
		}
	}
	return files
}

// policyFeature is what a file of manifests needs, if it is more than every supported version has.
func policyFeature(file string) feature {
	if strings.HasPrefix(filepath.Base(file), "stamp") {
		return mutatingPolicies
	}
	return feature{}
}

// withPolicies puts the shipped policies in place, as they are, and returns what takes them away, so that other tests do not
// meet them. The API server takes a moment for both, which this waits for.
func withPolicies(t *testing.T) (remove func()) {
	t.Helper()
	apply(t, admissionManifest)
	witness := loggedIn(t, gitlabtest.Job{Environment: "staging"}, ciJobContext)
	ready := false
	defer func() {
		if !ready {
			withoutPolicies(t, witness)
		}
	}()
	succeed(t, admin(t), "apply", "--validate=strict", "-f", strings.Join(policyFiles(t), ","))
	for _, sign := range signs() {
		eventually.Succeeds(t, func() error { return sign.check(t, witness, true) })
	}
	ready = true
	return func() { withoutPolicies(t, witness) }
}

func withoutPolicies(t *testing.T, witness job) {
	t.Helper()
	succeed(t, admin(t), "delete", "--ignore-not-found", "-f", strings.Join(policyFiles(t), ","))
	for _, sign := range signs() {
		eventually.Succeeds(t, func() error { return sign.check(t, witness, false) })
	}
	succeed(t, admin(t), "delete", "clusterrolebinding,clusterrole", "admission-tests")
	eventually.Succeeds(t, func() error { return checkForbidden(t, witness, "get namespaces") })
}

// sign is how a job in environment staging sees that a policy is in place: what a command that changes nothing prints.
type sign struct{ policy, command, prints string }

var signOfStamp = sign{"jobgate-stamp", "create configmap a -n unbound --dry-run=server -o yaml", "jobgate.io/job-id: "}

// signs are those of the policies of policyFiles.
func signs() []sign {
	if mutatingPolicies.isThere() {
		return append(tierSigns, stampSigns...)
	}
	return tierSigns
}

var tierSigns = []sign{
	{"jobgate-environment-tier", "create configmap a -n bound --dry-run=server", "may not do this in namespace bound"},
	{
		"jobgate-environment-tier-namespaces", "annotate namespace bound a=b --dry-run=server",
		"may not do this to namespace bound",
	},
}

var stampSigns = []sign{
	signOfStamp,
	{
		"jobgate-stamp-genuine",
		`patch pod web -n unbound --subresource=status --dry-run=server --type=merge -p ` + annotation(jobStamp, "1"),
		"may not set jobgate.io/job-id",
	},
	{
		"jobgate-stamp-pod-templates",
		"create deployment a --image=a -n unbound --dry-run=server -o jsonpath={.spec.template.metadata.annotations}",
		"app.gitlab.com/env",
	},
}

func (s sign) check(t *testing.T, witness job, want bool) error {
	t.Helper()
	result := try(t, witness.Workspace, strings.Fields(s.command)...)
	if strings.Contains(result.Stdout+result.Stderr, s.prints) != want {
		return fmt.Errorf("policy %s in effect: want %t: kubectl %s: %s", s.policy, want, s.command, result)
	}
	if !want && !result.OK() {
		return fmt.Errorf("without policies kubectl %s should succeed: %s", s.command, result)
	}
	return nil
}

// annotation is a merge patch, without blanks.
func annotation(key, value string) string {
	return fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value)
}

// wantAdmission runs a command, split at blanks. It has to succeed where nothing is wanted, and else to fail with those words.
func wantAdmission(t *testing.T, w *kubectl.Workspace, command, want string) {
	t.Helper()
	result := try(t, w, strings.Fields(command)...)
	switch {
	case want == "" && !result.OK():
		t.Errorf("kubectl %s should have been admitted: %s", command, result)
	case want != "" && (result.OK() || !strings.Contains(result.Stderr, want)):
		t.Errorf("kubectl %s should have failed with %q: %s", command, want, result)
	}
	for line := range strings.Lines(result.Stderr) {
		if strings.Contains(line, deniedByPolicy) {
			wantExplained(t, kubectl.Result{Stderr: line})
		}
	}
}

// deniedByPolicy is in what kubectl prints of a policy's refusal. The page need not explain others, such as a pod without a
// node, or what kubectl attach says beside it.
const deniedByPolicy = "denied request: "

// script runs lines of shell in the workspace; they have to succeed where no words are wanted, and else to fail with them.
func script(t *testing.T, w *kubectl.Workspace, lines, want string) {
	t.Helper()
	result, err := w.Script(t.Context(), lines)
	if err != nil {
		t.Fatal(err)
	}
	if result.OK() != (want == "") || !strings.Contains(result.Stderr, want) {
		t.Errorf("want the failure %q of\n%s\n%s", want, lines, result)
	}
}

// Every shipped manifest is one that a real API server takes, expressions included, without a field that it does not know.
func TestManifests_AreAcceptedByTheAPIServer(t *testing.T) {
	apply(t, `{apiVersion: v1, kind: Namespace, metadata: {name: payments}}`)
	for _, folder := range []string{"rbac", "admission"} {
		files, err := filepath.Glob(filepath.Join(shipped(t, folder), "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no manifests in %s: %v", folder, err)
		}
		for _, file := range files {
			t.Run(folder+"/"+filepath.Base(file), func(t *testing.T) {
				needs(t, policyFeature(file))
				result := try(t, admin(t), "apply", "--dry-run=server", "--validate=strict", "-f", file)
				if !result.OK() || result.Stderr != "" {
					t.Errorf("kubectl apply --dry-run=server: %s", result)
				}
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(string(text), "# ") {
					t.Error("the file does not begin with what it is for")
				}
			})
		}
	}
}

// This is what kube-controller-manager writes into a policy's status.typeChecking. It says something about rules without
// wildcards only.
func TestAdmission_TypeCheckerHasNoWarnings(t *testing.T) {
	config, err := clientcmd.BuildConfigFromFlags("", admin(t).Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := restmapper.GetAPIGroupResources(client)
	if err != nil {
		t.Fatal(err)
	}
	checker := validating.TypeChecker{
		SchemaResolver: &resolver.ClientDiscoveryResolver{Discovery: client},
		RestMapper:     restmapper.NewDiscoveryRESTMapper(groups),
	}
	checked := 0
	for _, policy := range validatingPolicies(t) {
		for _, warning := range checker.Check(&policy) {
			t.Errorf("%s: %s: %s", policy.Name, warning.FieldRef, warning.Warning)
		}
		checked++
		policy.Spec.Validations[0].Expression = "object.metadata.nonsense == 1 && " + policy.Spec.Validations[0].Expression
		if named := policy.Name == "jobgate-environment-tier-namespaces"; named && len(checker.Check(&policy)) == 0 {
			t.Errorf("%s: the type checker does not find a field that does not exist", policy.Name)
		}
	}
	if checked == 0 {
		t.Error("no policy has been checked")
	}
}

func validatingPolicies(t *testing.T) []admissionv1.ValidatingAdmissionPolicy {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shipped(t, "admission"), "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var policies []admissionv1.ValidatingAdmissionPolicy
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, readPolicies(t, utilyaml.NewYAMLToJSONDecoder(bytes.NewReader(text)))...)
	}
	return policies
}

func readPolicies(t *testing.T, documents *utilyaml.YAMLToJSONDecoder) []admissionv1.ValidatingAdmissionPolicy {
	t.Helper()
	var policies []admissionv1.ValidatingAdmissionPolicy
	for {
		var policy admissionv1.ValidatingAdmissionPolicy
		err := documents.Decode(&policy)
		if errors.Is(err, io.EOF) {
			return policies
		}
		if err != nil {
			t.Fatal(err)
		}
		if policy.Kind == "ValidatingAdmissionPolicy" {
			policies = append(policies, policy)
		}
	}
}

// Reviews are no objects: the API server keeps them from policies, and jobs go on asking who they are and what they may do.
func policiesPassReviews(t *testing.T) {
	j := loggedIn(t, gitlabtest.Job{Environment: "staging"}, ciJobContext)
	for _, command := range []string{
		"auth whoami", "auth can-i create configmaps -n bound", "auth can-i --list -n bound",
	} {
		wantAdmission(t, j.Workspace, command, "")
	}
	review := `{"apiVersion":"authorization.k8s.io/v1","kind":"LocalSubjectAccessReview","metadata":{"namespace":"bound"},` +
		`"spec":{"user":"ada","resourceAttributes":{"namespace":"bound","verb":"get","resource":"pods"}}}`
	script(t, j.Workspace, "kubectl create -f - -o name <<'EOF'\n"+review+"\nEOF", "")
}
