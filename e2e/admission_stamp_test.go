package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/kubectl"
)

// The annotations by which an object says which job wrote it.
const (
	agentStamp    = "jobgate.io/agent-id"
	projectStamp  = "jobgate.io/project-id"
	pipelineStamp = "jobgate.io/pipeline-id"
	jobStamp      = "jobgate.io/job-id"
	urlStamp      = "jobgate.io/job-url"
	userStamp     = "jobgate.io/username"
	envStamp      = "app.gitlab.com/env"
)

// stamps are those of a job that uses the agent.
func (j job) stamps(agent int64) map[string]string {
	stamps := map[string]string{
		agentStamp:    strconv.FormatInt(agent, 10),
		projectStamp:  strconv.FormatInt(j.Project, 10),
		pipelineStamp: strconv.FormatInt(j.Pipeline.ID, 10),
		jobStamp:      strconv.FormatInt(j.ID, 10),
		userStamp:     "jdoe",
	}
	if j.Environment != "" {
		stamps[envStamp] = j.Environment
	}
	return stamps
}

// with is a copy with one more.
func with(stamps map[string]string, key, value string) map[string]string {
	stamps = maps.Clone(stamps)
	stamps[key] = value
	return stamps
}

// naming puts the job's id in the place of JOB.
func naming(j job, text string) string {
	return strings.ReplaceAll(text, "JOB", strconv.FormatInt(j.ID, 10))
}

// try runs lines of shell as script does, with the job's id in the place of JOB.
func (j job) try(t *testing.T, lines, want string) {
	t.Helper()
	script(t, j.Workspace, naming(j, lines), want)
}

// annotations are those of an object, or of something in it: "configmap a -n b", ".metadata". kubectl's own is left out.
func annotations(t *testing.T, object, path string) map[string]string {
	t.Helper()
	text := succeed(t, admin(t), append([]string{"get", "-o", "jsonpath={" + path + ".annotations}"},
		strings.Fields(object)...)...)
	found := map[string]string{}
	if text == "" {
		return found
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	delete(found, "kubectl.kubernetes.io/last-applied-configuration")
	return found
}

func wantAnnotations(t *testing.T, object, path string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, annotations(t, object, path)); diff != "" {
		t.Errorf("annotations of %s at %s (-want +got):\n%s", object, path, diff)
	}
}

// manifest is a ConfigMap for the standard input of kubectl; the metadata begin with a comma.
func manifest(name, metadata, data string) string {
	return fmt.Sprintf(`<<'EOF'
{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: unbound%s}, data: {a: %s}}
EOF`, name, metadata, data)
}

func TestStamp(t *testing.T) {
	needs(t, mutatingPolicies)
	defer withPolicies(t)()
	t.Run("every way to write", stampEveryWayToWrite)
	t.Run("whatever jobs act as", stampWhateverJobsActAs)
	t.Run("jobs without an agent", stampJobsWithoutAnAgent)
	t.Run("kinds of objects", stampKindsOfObjects)
	t.Run("pod templates", stampPodTemplates)
	t.Run("forgery is refused", stampForgeryIsRefused)
	t.Run("job without environment has none to write", stampJobWithoutEnvironment)
	t.Run("leaves others alone", stampLeavesOthersAlone)
}

// Two jobs write the same object, the second from another environment. Afterwards it is the second's.
func stampEveryWayToWrite(t *testing.T) {
	forged := `, annotations: {jobgate.io/job-id: "1", app.gitlab.com/env: other, a: b}`
	tests := []struct {
		name  string
		first string // the first job's lines of shell; the second's come after it; NAME is the object's
		then  string
		want  map[string]string // besides the stamps
	}{
		{"create and patch", "kubectl create configmap NAME -n unbound",
			"kubectl patch configmap NAME -n unbound --type=merge -p '{\"data\":{\"a\":\"b\"}}'", nil},
		{"create and label", "kubectl create -f - " + manifest("NAME", ", annotations: {a: b}", "a"),
			"kubectl label configmap NAME -n unbound a=b", map[string]string{"a": "b"}},
		{"create and replace", "kubectl create -f - " + manifest("NAME", ", annotations: {}", "a"),
			"kubectl replace -f - " + manifest("NAME", ", annotations: null", "b"), nil},
		{"apply twice", "kubectl apply -f - " + manifest("NAME", "", "a"),
			"kubectl apply -f - " + manifest("NAME", "", "b"), nil},
		{"server-side apply twice, the same", "kubectl apply --server-side -f - " + manifest("NAME", "", "a"),
			"kubectl apply --server-side -f - " + manifest("NAME", "", "a"), nil},
		{"server-side apply by two managers", "kubectl apply --server-side -f - " + manifest("NAME", "", "a"),
			"kubectl apply --server-side --field-manager=other -f - " + manifest("NAME", "", "a"), nil},
		{"forged: true values take their place", "kubectl create -f - " + manifest("NAME", forged, "a"),
			"kubectl apply --server-side --force-conflicts -f - " + manifest("NAME", forged, "a"), map[string]string{"a": "b"}},
		{"stamps taken away: they come back", "kubectl create -f - " + manifest("NAME", "", "a"),
			"kubectl annotate configmap NAME -n unbound jobgate.io/job-id- jobgate.io/username- app.gitlab.com/env-", nil},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			name := fmt.Sprintf("way-%d", i)
			object := "configmap " + name + " -n unbound"
			first := loggedIn(t, gitlabtest.Job{Environment: "prod"}, ciJobContext)
			second := loggedIn(t, gitlabtest.Job{Environment: "staging"}, ciJobContext)
			for _, step := range []struct {
				job   job
				lines string
			}{{first, test.first}, {second, test.then}} {
				step.job.try(t, strings.ReplaceAll(step.lines, "NAME", name), "")
				want := step.job.stamps(ciJobAgent)
				maps.Copy(want, test.want)
				wantAnnotations(t, object, ".metadata", want)
			}
			applied := succeed(t, admin(t), "get", "configmap", name, "-n", "unbound", "-o",
				`jsonpath={.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}`)
			if strings.Contains(applied, "jobgate.io") {
				t.Errorf("kubectl takes stamps for a part of the manifest: %s", applied)
			}
		})
	}
}

func stampWhateverJobsActAs(t *testing.T) {
	for context, agent := range map[string]int64{
		ciJobContext: ciJobAgent, serviceAccountContext: serviceAccountAgent, impersonateContext: impersonateAgent,
	} {
		t.Run(context, func(t *testing.T) {
			j := loggedIn(t, gitlabtest.Job{}, context)
			j.try(t, "kubectl create configmap job-JOB -n unbound", "")
			wantAnnotations(t, naming(j, "configmap job-JOB -n unbound"), ".metadata", j.stamps(agent))
		})
	}
}

// A job without an agent has no agent's stamp, and none of an earlier job stays. The page of the job is stamped if it is known.
func stampJobsWithoutAnAgent(t *testing.T) {
	g := grantsOnly(t)
	g.both(t, func(c *config.Configuration) { c.ExtraFacts = []string{"job-url"} })
	for _, login := range grantLogins() {
		t.Run(login.name, func(t *testing.T) {
			j := runJob(t, gitlabtest.Job{Environment: "prod"})
			j.Workspace = bearer(t, g.API, login.token(t, j))
			want := with(j.stamps(0), urlStamp, fmt.Sprintf("%s/path/to/project/-/jobs/%d", site.GitLab.URL(), j.ID))
			delete(want, agentStamp)
			object := naming(j, "configmap job-JOB -n unbound")
			// This API server may have heard of the policies a moment later.
			eventually.Succeeds(t, func() error { return signOfStamp.check(t, j, true) })

			j.try(t, "kubectl create configmap job-JOB -n unbound", "")
			wantAnnotations(t, object, ".metadata", want)
			later := loggedIn(t, gitlabtest.Job{Environment: "prod"}, ciJobContext)
			succeed(t, later.Workspace, strings.Fields("label "+object+" a=b")...)
			wantAnnotations(t, object, ".metadata", later.stamps(ciJobAgent))
			succeed(t, j.Workspace, strings.Fields("label "+object+" --overwrite a=c")...)
			wantAnnotations(t, object, ".metadata", want)
			j.try(t, "kubectl patch pod web -n unbound --subresource=status --type=merge -p '"+annotation(agentStamp, "4")+"'",
				naming(j, "job JOB of project 150 may not set "+agentStamp))
		})
	}
}

func stampKindsOfObjects(t *testing.T) {
	j := loggedIn(t, gitlabtest.Job{Environment: "prod"}, ciJobContext)
	tests := []struct {
		name, object, manifest string
		stamped                bool
	}{
		{"pod", "pod job-JOB -n unbound",
			`{apiVersion: v1, kind: Pod, metadata: {name: job-JOB, namespace: unbound}, ` +
				`spec: {automountServiceAccountToken: false, containers: [{name: a, image: a}]}}`, true},
		{"secret", "secret job-JOB -n unbound",
			`{apiVersion: v1, kind: Secret, metadata: {name: job-JOB, namespace: unbound}, stringData: {a: b}}`, true},
		{"cluster-scoped", "namespace job-JOB",
			`{apiVersion: v1, kind: Namespace, metadata: {name: job-JOB}}`, true},
		{"event", "event job-JOB -n unbound",
			`{apiVersion: v1, kind: Event, metadata: {name: job-JOB, namespace: unbound}, involvedObject: {namespace: unbound}}`,
			false},
		{"lease", "lease job-JOB -n unbound",
			`{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: job-JOB, namespace: unbound}}`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j.try(t, "kubectl create -f - <<'EOF'\n"+test.manifest+"\nEOF", "")
			want := map[string]string{}
			if test.stamped {
				want = j.stamps(ciJobAgent)
			}
			wantAnnotations(t, naming(j, test.object), ".metadata", want)
		})
	}
	t.Run("custom resource", func(t *testing.T) {
		j.try(t, "kubectl create -f - <<'EOF'\n"+widgets+"\nEOF", "")
		wantAnnotations(t, "customresourcedefinition widgets.example.com", ".metadata", j.stamps(ciJobAgent))
		eventually.Succeeds(t, func() error { return createWidget(t, j.Workspace) })
		wantAnnotations(t, "widget w -n unbound", ".metadata", j.stamps(ciJobAgent))
		succeed(t, admin(t), "delete", "customresourcedefinition", "widgets.example.com", "--wait=false")
	})
}

// widgets are objects of which nothing is known but that spec.template is not what it is in a Deployment.
const widgets = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: widgets.example.com},
	spec: {group: example.com, scope: Namespaced, names: {kind: Widget, plural: widgets, singular: widget}, versions: [
		{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {
			spec: {type: object, properties: {template: {type: string}}}}}}}]}}`

// createWidget fails while the API server does not know the kind yet.
func createWidget(t *testing.T, w *kubectl.Workspace) error {
	t.Helper()
	result, err := w.Script(t.Context(), `kubectl create -f - <<'EOF'
{apiVersion: example.com/v1, kind: Widget, metadata: {name: w, namespace: unbound}, spec: {template: none}}
EOF`)
	if err != nil {
		t.Fatal(err)
	}
	if !result.OK() {
		return fmt.Errorf("create a custom resource: %s", result)
	}
	return nil
}
