package e2e_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// notYours is what a job is told that writes another job's stamps.
const notYours = "job JOB of project 150 may not set "

// Where nothing stamps over what a job writes, it is refused.
func stampForgeryIsRefused(t *testing.T) {
	patchStatus := func(object, key, value string) string {
		return fmt.Sprintf("kubectl patch %s -n bound --subresource=status --type=merge -p '%s'", object, annotation(key, value))
	}
	bind := func(path string) string {
		return "kubectl create --raw /api/v1/namespaces/bound/" + path + " -f - <<'EOF'\n" +
			`{"apiVersion":"v1","kind":"Binding","metadata":{"name":"web","annotations":{"jobgate.io/job-id":"1"}},` +
			`"target":{"kind":"Node","name":"admission"}}` + "\nEOF"
	}
	inProd := gitlabtest.Job{Environment: "prod"}
	tests := []struct {
		name  string
		lines string
		want  string // empty: admitted
	}{
		{"status of a Deployment", patchStatus("deployment web", jobStamp, "1"), notYours + jobStamp},
		{"status of a pod", patchStatus("pod web", userStamp, "root"), notYours + userStamp},
		{"status, another environment", patchStatus("pod web", envStamp, "staging"), notYours + envStamp},
		{"status, the job's own", patchStatus("pod web", jobStamp, "JOB"), ""},
		{"status, another annotation", patchStatus("pod web", "a", "b"), ""},
		{"binding of a pod, which hands its annotations on", bind("pods/web/binding"), notYours + jobStamp},
		{"binding", bind("bindings"), notYours + jobStamp},
		{"pod template", template("Deployment", "{jobgate.io/job-id: '1'}"), notYours + jobStamp},
		{"pod template of a DaemonSet", template("DaemonSet", "{jobgate.io/agent-id: '9'}"), notYours + agentStamp},
		{"pod template, the job's own", template("Deployment", "{jobgate.io/job-id: 'JOB', a: b}"), ""},
		{"pod template, the project of the path", template("Deployment", "{app.gitlab.com/app: path-to-project}"), ""},
		{"pod template of a Job", batchJob("{app.gitlab.com/env: other}"), notYours + envStamp},
		{"Jobs of a CronJob", cronJob("{jobgate.io/project-id: '1'}", "{a: b}"), notYours + projectStamp},
		{"pods of a CronJob", cronJob("{a: b}", "{jobgate.io/project-id: '1'}"), notYours + projectStamp},
		{"CronJob without stamps", cronJob("{a: b}", "{a: b}"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := loggedIn(t, inProd, ciJobContext)
			j.try(t, test.lines, naming(j, test.want))
		})
	}
}

// template creates a workload with annotations in its pod template.
func template(kind, annotations string) string {
	return "kubectl create -f - <<'EOF'\n{apiVersion: apps/v1, kind: " + kind + ", metadata: {name: job-JOB, namespace: bound}, " +
		"spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}, annotations: " + annotations + "}, " +
		"spec: {containers: [{name: a, image: a}]}}}}\nEOF"
}

func batchJob(annotations string) string {
	return "kubectl create -f - <<'EOF'\n{apiVersion: batch/v1, kind: Job, metadata: {name: job-JOB, namespace: bound}, spec: {" +
		podTemplate(annotations) + "}}\nEOF"
}

func cronJob(ofJobs, ofPods string) string {
	return "kubectl create -f - <<'EOF'\n{apiVersion: batch/v1, kind: CronJob, metadata: {name: job-JOB, namespace: bound}, " +
		"spec: {schedule: '0 0 1 1 *', jobTemplate: {metadata: {annotations: " + ofJobs + "}, spec: {" + podTemplate(ofPods) +
		"}}}}\nEOF"
}

func podTemplate(annotations string) string {
	return "template: {metadata: {annotations: " + annotations + "}, spec: {restartPolicy: Never, " +
		"containers: [{name: a, image: a}]}}"
}

// app.gitlab.com/env is GitLab's annotation, and people write it into manifests themselves.
func stampJobWithoutEnvironment(t *testing.T) {
	first := loggedIn(t, gitlabtest.Job{Environment: "prod"}, ciJobContext)
	first.try(t, "kubectl create configmap env -n unbound", "")
	none := loggedIn(t, gitlabtest.Job{}, ciJobContext)
	none.try(t, "kubectl create -f - "+manifest("env-JOB", ", annotations: {app.gitlab.com/env: prod}", "a"),
		naming(none, notYours+envStamp))
	none.try(t, "kubectl annotate --overwrite configmap env -n unbound app.gitlab.com/env=staging",
		naming(none, notYours+envStamp))
	none.try(t, "kubectl label configmap env -n unbound a=b", "")
	wantAnnotations(t, "configmap env -n unbound", ".metadata", with(none.stamps(ciJobAgent), envStamp, "prod"))
	none.try(t, "kubectl replace -f - "+manifest("env", "", "b"), "")
	wantAnnotations(t, "configmap env -n unbound", ".metadata", none.stamps(ciJobAgent))
}

// A pod template changes with the environment alone: any other stamp in it would restart the pods at every deployment.
func stampPodTemplates(t *testing.T) {
	steps := []struct {
		name, environment, verb string
		env                     string // in the template afterwards
		restarts                bool
	}{
		{"created without environment", "", "create", "", false},
		{"first job in an environment", "prod", "replace", "prod", true},
		{"next job there", "prod", "replace", "prod", false},
		{"job in another one", "staging", "replace", "staging", true},
	}
	for _, kind := range []string{"Deployment", "DaemonSet", "StatefulSet"} {
		t.Run(kind, func(t *testing.T) {
			object, before := kind+" web -n unbound", ""
			for _, step := range steps {
				j := loggedIn(t, gitlabtest.Job{Environment: step.environment}, ciJobContext)
				j.try(t, "kubectl "+step.verb+workload(kind), "")
				want := map[string]string{}
				if step.env != "" {
					want[envStamp] = step.env
				}
				wantAnnotations(t, object, ".spec.template.metadata", want)
				if got := annotations(t, object, ".metadata")[jobStamp]; got != naming(j, "JOB") {
					t.Errorf("%s: the stamp names job %s", step.name, got)
				}
				after := succeed(t, admin(t), "get", kind, "web", "-n", "unbound", "-o", "jsonpath={.spec.template}")
				if restarts := before != "" && before != after; restarts != step.restarts {
					t.Errorf("%s: the pod template goes from %s to %s", step.name, before, after)
				}
				before = after
			}
		})
	}
}

// workload is one that the API server takes, and in which server-side apply would not take the ports.
func workload(kind string) string {
	more := ""
	if kind == "StatefulSet" {
		more = "serviceName: a, "
	}
	return ` -f - <<'EOF'
{apiVersion: apps/v1, kind: ` + kind + `, metadata: {name: web, namespace: unbound}, spec: {` + more + `
  selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [
    {name: a, image: a, ports: [{containerPort: 80, name: a}, {containerPort: 80, name: b}]}]}}}}
EOF`
}

// Controllers copy annotations, and people restore backups: they are not refused, and what they write is what is stored.
func stampLeavesOthersAlone(t *testing.T) {
	j := loggedIn(t, gitlabtest.Job{Environment: "prod"}, ciJobContext)
	copied := map[string]string{jobStamp: "1", userStamp: "root", envStamp: "other", "a": "b"}
	i := 0
	for name, user := range others(t) {
		i++
		t.Run(name, func(t *testing.T) {
			run := func(lines string) {
				t.Helper()
				script(t, user.Workspace, strings.ReplaceAll(lines, "kubectl", "kubectl"+user.as), "")
			}
			plain, stamped := fmt.Sprintf("plain-%d", i), fmt.Sprintf("stamped-%d", i)
			run("kubectl create -f - " + manifest(plain, "", "a"))
			wantAnnotations(t, "configmap "+plain+" -n unbound", ".metadata", map[string]string{})
			run("kubectl create -f - " + manifest(stamped,
				`, annotations: {jobgate.io/job-id: "1", jobgate.io/username: root, app.gitlab.com/env: other, a: b}`, "a"))
			wantAnnotations(t, "configmap "+stamped+" -n unbound", ".metadata", copied)

			j.try(t, "kubectl label configmap "+stamped+" -n unbound a=b", "")
			byJob := maps.Clone(j.stamps(ciJobAgent))
			byJob["a"] = "b"
			wantAnnotations(t, "configmap "+stamped+" -n unbound", ".metadata", byJob)
			run("kubectl label configmap " + stamped + " -n unbound c=d")
			wantAnnotations(t, "configmap "+stamped+" -n unbound", ".metadata", byJob)
			run("kubectl annotate --overwrite configmap " + stamped + " -n unbound jobgate.io/job-id=2")
			wantAnnotations(t, "configmap "+stamped+" -n unbound", ".metadata", with(byJob, jobStamp, "2"))
		})
	}
}
