package e2e_test

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/docs"
	"github.com/jobgate/jobgate/e2e/kubectl"
)

// shownAPIServer is what pages call the API server.
const shownAPIServer = "https://api.prod.example.com:6443"

// forEachPage calls f with the blocks of a kind, page by page.
func forEachPage(t *testing.T, kind []string, f func(*testing.T, []docs.Block)) {
	t.Helper()
	found := false
	for _, page := range allPages(t) {
		var blocks []docs.Block
		for _, block := range page.Blocks {
			if block.Is(kind[0], kind[1:]...) {
				blocks = append(blocks, block)
			}
		}
		if len(blocks) == 0 {
			continue
		}
		found = true
		t.Run(page.Path, func(t *testing.T) { f(t, blocks) })
	}
	if !found {
		t.Errorf("no page has a block ```%s", strings.Join(kind, " "))
	}
}

// Blocks of an administrator run in the repository's folder. What they apply is gone afterwards.
func TestCommands_OfAnAdministrator(t *testing.T) {
	forEachPage(t, []string{shell, wayRun, "admin"}, func(t *testing.T, blocks []docs.Block) {
		w := admin(t)
		if err := os.Symlink(repositoryFile(t, "manifests"), filepath.Join(w.Dir, "manifests")); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		for _, block := range blocks {
			for _, m := range regexp.MustCompile(`apply -f (\S+)`).FindAllStringSubmatch(block.Text, -1) {
				t.Cleanup(func() {
					if result, err := w.Run(context.WithoutCancel(t.Context()), "delete", "--ignore-not-found", "-f", m[1]); err != nil || !result.OK() {
						t.Errorf("take %s away: %v: %s", m[1], err, result)
					}
				})
			}
			result, err := w.Script(t.Context(), block.Text)
			if err != nil || !result.OK() {
				t.Errorf("%s: %v: %s", block, err, result)
			}
		}
	})
}

// readersRights let the jobs of pages deploy to their namespaces.
const readersRights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: readers-of-pages}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "gitlab:project:150"}
`

// A deployment.yaml, which scripts on pages apply.
const readersDeployment = `
apiVersion: v1
kind: ConfigMap
metadata: {name: readers-of-pages}
`

// pageReader is a CI job that may do all that pages have jobs do, in project 150, to which several agents are open.
func pageReader(t *testing.T, environment string, env ...string) job {
	t.Helper()
	j := gitlabtest.Job{Project: project, Environment: environment}
	env = append([]string{"JOBGATE_URL=" + site.API.URL, "JOBGATE_CA_FILE=" + site.Plane.CAFile()}, env...)
	running := runJob(t, j, append(gitlabVariables(t, j), env...)...)
	writeFile(t, running.Dir, "deployment.yaml", []byte(readersDeployment))
	return running
}

// grantReaders gives jobs of pages their rights, and returns what takes them away again.
func grantReaders(t *testing.T) (revoke func()) {
	t.Helper()
	effective := func(want bool) {
		eventually.Succeeds(t, func() error {
			result := try(t, admin(t), "auth", "can-i", "create", "configmaps", "--as=anybody", "--as-group=gitlab:project:150")
			if result.OK() != want {
				return errors.New("the rights have not changed yet")
			}
			return nil
		})
	}
	apply(t, readersRights)
	effective(true)
	return func() {
		for _, what := range []string{"clusterrolebinding", "configmap"} {
			succeed(t, admin(t), "delete", what, "readers-of-pages", "--ignore-not-found")
		}
		effective(false)
	}
}

// Blocks of a job are its script, in the environment "prod".
func TestCommands_OfAJob(t *testing.T) {
	defer grantReaders(t)()
	forEachPage(t, []string{shell, wayRun, "job"}, func(t *testing.T, blocks []docs.Block) {
		var script strings.Builder
		for _, block := range blocks {
			script.WriteString(strings.ReplaceAll(block.Text, shownAPIServer, site.API.URL))
		}
		if result := pageReader(t, "prod").shell(t, script.String()); !result.OK() {
			t.Errorf("%s: %s", blocks[0], result)
		}
	})
}

// shownJob is a job as a page's .gitlab-ci.yml has it.
type shownJob struct {
	Extends      string            `json:"extends"`
	Environment  string            `json:"environment"`
	Variables    map[string]string `json:"variables"`
	BeforeScript []string          `json:"before_script"`
	Script       []string          `json:"script"`
	IDTokens     map[string]struct {
		Audience string `json:"aud"`
	} `json:"id_tokens"`
}

// The jobs in a page's .gitlab-ci.yml run as they are shown. What they include is the file or the component of
// manifests/gitlab-ci, with the page's inputs; other names of hidden jobs are the page's own.
func TestCommands_OfAPipeline(t *testing.T) {
	defer grantReaders(t)()
	forEachPage(t, []string{"yaml", wayRun, "job"}, func(t *testing.T, blocks []docs.Block) {
		for _, block := range blocks {
			jobs, hiddenJobs := pipeline(t, strings.ReplaceAll(block.Text, shownAPIServer, site.API.URL))
			for name, j := range jobs {
				if len(j.Script) == 0 {
					continue
				}
				if result := j.inherit(t, block, hiddenJobs).run(t); !result.OK() {
					t.Errorf("%s: job %s: %s", block, name, result)
				}
			}
		}
	})
}

// inherit is the job with what it extends, from one hidden job to the next.
func (j shownJob) inherit(t *testing.T, block docs.Block, hiddenJobs map[string]shownJob) shownJob {
	t.Helper()
	for j.Extends != "" {
		base, ok := hiddenJobs[j.Extends]
		if !ok {
			t.Fatalf("%s: a job extends %s, which nothing defines", block, j.Extends)
		}
		variables := maps.Clone(base.Variables)
		if variables == nil {
			variables = map[string]string{}
		}
		maps.Copy(variables, j.Variables)
		j.Variables, j.Extends = variables, base.Extends
		if len(j.BeforeScript) == 0 {
			j.BeforeScript = base.BeforeScript
		}
	}
	return j
}

// run runs a job with the variables of pageReader, but for those in env. A job that names the cluster uses no agent, so it
// runs where there is none.
func (j shownJob) run(t *testing.T, env ...string) kubectl.Result {
	t.Helper()
	known := map[string]string{"JOBGATE_CA_FILE": site.Plane.CAFile(), "JOBGATE_URL": site.API.URL}
	if j.Variables["JOBGATE_CLUSTER"] != "" {
		known["JOBGATE_URL"] = grantsOnly(t).API.URL
		env = append(env, "JOBGATE_URL="+known["JOBGATE_URL"], "KUBECONFIG=")
	}
	for key, value := range j.Variables {
		env = append(env, key+"="+os.Expand(value, func(name string) string { return known[name] }))
	}
	running, script := pageReader(t, cmp.Or(j.Environment, "prod"), env...), ""
	for variable, token := range j.IDTokens {
		signed, err := site.GitLab.IDToken(running.ID, token.Audience)
		if err != nil {
			t.Fatal(err)
		}
		noteToken(t, signed)
		script += "export " + variable + "=" + signed + "\n"
	}
	return running.shell(t, script+strings.Join(slices.Concat(j.BeforeScript, j.Script), "\n"))
}

// autoDevOps is GitLab's template. Of its jobs, one that extends .auto-deploy is run, as far as it uses the kubeconfig: it
// chooses the context in KUBE_CONTEXT (auto-deploy use_kube_context) and deploys.
const autoDevOps = "Auto-DevOps.gitlab-ci.yml"

// pipeline reads a .gitlab-ci.yml: its jobs, and what they may extend.
func pipeline(t *testing.T, text string) (jobs, hiddenJobs map[string]shownJob) {
	t.Helper()
	var all map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	included, err := yaml.Marshal(all["include"])
	if err != nil {
		t.Fatal(err)
	}
	var includes []struct {
		File, Component, Template string
		Inputs                    map[string]string
	}
	if err := yaml.Unmarshal(included, &includes); err != nil {
		t.Fatal(err)
	}
	delete(all, "include")
	rest, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(rest, &jobs); err != nil {
		t.Fatal(err)
	}
	hiddenJobs = map[string]shownJob{}
	for name, j := range jobs {
		if strings.HasPrefix(name, ".") {
			hiddenJobs[name] = j
		}
	}
	for _, include := range includes {
		if include.Template == autoDevOps {
			jobs["production"] = shownJob{Extends: ".auto-deploy", Environment: "prod", Script: []string{
				`kubectl config use-context "$KUBE_CONTEXT"`, "kubectl apply -f deployment.yaml",
			}}
			continue
		}
		file, name := includeFile, hiddenJob
		if include.Component != "" {
			file, name = componentFile, cmp.Or(include.Inputs["job"], hiddenJob)
		}
		h := hidden(t, file, include.Inputs)
		hiddenJobs[name] = shownJob{BeforeScript: h.BeforeScript, Variables: h.Variables}
	}
	return jobs, hiddenJobs
}
