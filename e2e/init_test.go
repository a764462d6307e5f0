package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/apis/apiserver/load"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"

	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/installtest"
)

// probeDenied is what a restriction of the tests denies a job without an environment.
const probeDenied = "get --raw /api/v1/namespaces/web-prod/configmaps"

// From an empty folder to a job that is logged in, by what init writes and prints and nothing else.
func TestInit_AJobLogsInWithoutAnyEdit(t *testing.T) {
	n := newNode(t, "init")
	accepted := runJob(t, gitlabtest.Job{})
	start := time.Now()
	n.mustInit(t)
	n.startJobgate(t)
	n.startAPIServer(t, "kube-apiserver-init")
	accepted.use(t, n.server, ciJobContext)
	if got := whoami(t, accepted.Workspace).Username; got != accepted.username() {
		t.Errorf("username %s, want %s", got, accepted.username())
	}
	t.Logf("from the start of init to the first login: %s", time.Since(start).Round(time.Millisecond))

	wantUnauthorized(t, loggedInTo(t, n.server, gitlabtest.Job{}, serviceAccountContext).Workspace)
	n.checkPrintedCheck(t)
	n.checkUnchanged(t)
	n.restrict(t, accepted, probeDenied)
	n.checkHandEdited(t)
	n.checkLog(t, accepted)
}

// checkPrintedCheck runs the last command that init printed.
func (n *node) checkPrintedCheck(t *testing.T) {
	t.Helper()
	commands := regexp.MustCompile(`(?m)^       (.+)$`).FindAllStringSubmatch(n.stdout, -1)
	last := commands[len(commands)-1][1]
	if !strings.Contains(last, " check ") {
		t.Fatalf("the last command is %s", last)
	}
	if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", last).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", last, err, out)
	}
}

// checkUnchanged runs init again beside the running jobgate.
func (n *node) checkUnchanged(t *testing.T) {
	t.Helper()
	before := installtest.Tree(t, n.dir)
	n.mustInit(t)
	if !strings.Contains(n.stdout, "\nNothing changed.\n") {
		t.Errorf("the second init printed:\n%s", n.stdout)
	}
	if diff := cmp.Diff(before, installtest.Tree(t, n.dir)); diff != "" {
		t.Errorf("the second init changed something (-before +after):\n%s", diff)
	}
}

// checkHandEdited runs init over a configuration that was changed by hand, with the same and with other arguments.
func (n *node) checkHandEdited(t *testing.T) {
	t.Helper()
	before := installtest.Tree(t, n.dir)
	n.mustInit(t)
	if !strings.Contains(n.stdout, "  kept       config.yaml  (it was changed by hand)\n") {
		t.Errorf("init printed:\n%s", n.stdout)
	}
	err := n.init(t, "--agent=5")
	if err == nil || !strings.Contains(n.stdout, "\n+- id: 5\n") || !strings.Contains(n.stdout, "\n-- name: by hand\n") {
		t.Errorf("with another agent: %v", err)
	}
	if diff := cmp.Diff(before, installtest.Tree(t, n.dir)); diff != "" {
		t.Errorf("a configuration that was changed by hand does not survive (-before +after):\n%s", diff)
	}
}

// presentAuthorizers are the authorizers of a cluster before jobgate: its own webhook allows what RBAC does not.
const presentAuthorizers = `# Kept with the cluster's other files.
apiVersion: apiserver.config.k8s.io/v1beta1
kind: AuthorizationConfiguration

authorizers:
# kubelets
- type: Node
  name: node

# The platform team's policy.
- type: Webhook
  name: policy
  webhook:
    timeout: 5s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: NoOpinion
    authorizedTTL: 1s      # not cached for longer
    unauthorizedTTL: 1s
    connectionInfo:
      type: KubeConfigFile
      kubeConfigFile: POLICY
    matchConditions:
    - expression: "!request.user.startsWith('system:')"

# everybody else
- type: RBAC
  name: rbac
`

// A webhook that the cluster has already stays where it is, and allows what jobgate does not deny.
func TestInit_KeepsTheClustersOwnWebhook(t *testing.T) {
	var reviews asked
	policy := startPolicy(t, &reviews)
	present := strings.Replace(presentAuthorizers, "POLICY", policy, 1)
	file := writeFile(t, t.TempDir(), "authorization.yaml", []byte(present))

	n := newNode(t, "init-merged", "--authorization-config="+file)
	n.mustInit(t)
	if diff := cmp.Diff(inSingleBlanks(present), inSingleBlanks(withoutJobgate(t, n.read(t, "authorization.yaml")))); diff != "" {
		t.Errorf("the other authorizers (-before +after):\n%s", diff)
	}
	n.startJobgate(t)
	n.startAPIServer(t, "kube-apiserver-init-merged")

	stranger := certified(t, n.server, "stranger")
	isAllowed.of(t, stranger, "get --raw /api/v1/namespaces/web-prod/secrets")
	if reviews.count("stranger") == 0 {
		t.Error("the other webhook was not asked")
	}
	j := loggedInTo(t, n.server, gitlabtest.Job{}, ciJobContext)
	isAllowed.of(t, j.Workspace, probeDenied)
	if reviews.count(j.username()) == 0 {
		t.Error("the other webhook was not asked about a job that jobgate does not deny anything")
	}
	n.restrict(t, j, probeDenied)
	before := reviews.count(j.username())
	if result := try(t, j.Workspace, strings.Fields(probeDenied)...); result.OK() {
		t.Error("what jobgate denies is allowed by the other webhook")
	}
	if reviews.count(j.username()) != before {
		t.Error("the other webhook was asked about what jobgate denies")
	}
	n.checkLog(t, j)
}

// inSingleBlanks is a text without blank lines, and with single blanks before comments.
func inSingleBlanks(text string) string {
	text = regexp.MustCompile(` {2,}#`).ReplaceAllString(text, " #")
	return regexp.MustCompile(`\n{2,}`).ReplaceAllString(text, "\n")
}

// withoutJobgate takes the item of jobgate out of a list of authorizers.
func withoutJobgate(t *testing.T, text string) string {
	t.Helper()
	item := regexp.MustCompile(`(?m)^- type: Webhook\n  name: jobgate\n(?:  .*\n)+`)
	if n := len(item.FindAllString(text, -1)); n != 1 {
		t.Fatalf("jobgate is among the authorizers %d times:\n%s", n, text)
	}
	return item.ReplaceAllString(text, "")
}

// startPolicy is another webhook, which allows everything and counts. It returns its kubeconfig.
func startPolicy(t *testing.T, reviews *asked) (kubeconfig string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review authorizationv1.SubjectAccessReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reviews.add(review.Spec.User)
		review.Status.Allowed = true
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review) // the API server reports what it could not read
	}))
	t.Cleanup(server.Close)
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: policy\ncontexts: [{name: policy, context: {cluster: policy}}]\n"+
		"clusters: [{name: policy, cluster: {server: %s}}]\n", server.URL)
	return writeFile(t, t.TempDir(), "policy.kubeconfig", []byte(text))
}

// The API server's own validation, CEL included, which init does without, takes whatever init makes of a file that it took.
func TestInit_MergedAuthorizersAreValid(t *testing.T) {
	kubeconfig := writeFile(t, t.TempDir(), "kubeconfig", nil)
	present := strings.Replace(presentAuthorizers, "POLICY", kubeconfig, 1)
	shipped, err := os.ReadFile("../manifests/authorization-configuration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	own := regexp.MustCompile(`kubeConfigFile: .*`).ReplaceAllString(string(shipped), "kubeConfigFile: "+kubeconfig)
	rows := []struct{ name, present string }{
		{"v1", strings.Replace(present, "/v1beta1", "/v1", 1)},
		{"v1beta1", present},
		{"v1alpha1", strings.Replace(present, "/v1beta1", "/v1alpha1", 1)},
		{"RBAC alone", "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {type: RBAC, name: rbac}\n"},
		{"another jobgate", strings.Replace(present, "name: policy", "name: jobgate", 1)},
		{"shipped", own},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if err := validateAuthorizers([]byte(row.present)); err != nil {
				t.Fatalf("before: %v", err)
			}
			merged, err := install.MergeAuthorizers([]byte(row.present), []byte(own))
			if err != nil {
				t.Fatal(err)
			}
			if err := validateAuthorizers(merged); err != nil {
				t.Errorf("%v\n%s", err, merged)
			}
		})
	}
}

// validateAuthorizers does what kube-apiserver does with the file (pkg/kubeapiserver/authorizer, LoadAndValidateData).
func validateAuthorizers(text []byte) error {
	c, err := load.LoadFromData(text)
	if err != nil {
		return err
	}
	types := sets.New("AlwaysAllow", "AlwaysDeny", "ABAC", "Webhook", "RBAC", "Node")
	return validation.ValidateAuthorizationConfiguration(
		authorizationcel.NewDefaultCompiler(), nil, c, types, sets.New("Webhook")).ToAggregate()
}
