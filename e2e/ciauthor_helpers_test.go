package e2e_test

import (
	"bytes"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/kubectl"
)

// Projects and agents that only the tests for CI authors use.
const (
	authorProject    = 190 // path/to/author, with authorAgent alone
	twoAgentsProject = 191 // path/to/two-agents, with authorAgent and farAgent
	strictProject    = 192 // path/to/strict, with strictAgent alone
	lonelyProject    = 193 // path/to/lonely, with no agent

	authorAgent = 201 // default_namespace: author
	farAgent    = 202 // of another cluster
	strictAgent = 203 // environments: ["prod*"]
	closedAgent = 204 // no entry in ci_access

	authorContext     = "path/to/agent/project:author"
	farContext        = "path/to/agent/project:far"
	authorNamespace   = "author"
	authorEnvironment = "prod"
)

const (
	includeFile   = "manifests/gitlab-ci/jobgate.gitlab-ci.yml"
	componentFile = "manifests/gitlab-ci/templates/jobgate.yml"
	hiddenJob     = ".jobgate"
	tokenTail     = 12 // the end of a token is random in every format, unlike its beginning
)

// authorRights let the jobs of the projects deploy to the namespace.
const authorRights = `
apiVersion: v1
kind: Namespace
metadata: {name: author}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: author, namespace: author}
rules:
- {apiGroups: [""], resources: [pods, services, configmaps], verbs: [get, list, create]}
- {apiGroups: [apps], resources: [deployments], verbs: [create, update, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: author, namespace: author}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: author}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "gitlab:project:190"}
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "gitlab:project:191"}
`

func authorPaths() map[int64]string {
	return map[int64]string{
		authorProject: "path/to/author", twoAgentsProject: "path/to/two-agents", strictProject: "path/to/strict",
		lonelyProject: "path/to/lonely",
	}
}

// authorInstance is added to GitLab once. Other tests do not see it.
var authorInstance = sync.OnceValue(func() error {
	return site.GitLab.Update(func(w *gitlabtest.Instance) {
		for id, path := range authorPaths() {
			w.Projects = append(w.Projects, shopLike(id, innerGroup, path))
			for _, u := range w.Users {
				if u.ID == developer {
					u.Access[id] = 30
				}
			}
		}
		own := "default_namespace: " + authorNamespace
		w.Agents = append(w.Agents,
			gitlabtest.Agent{ID: authorAgent, Name: "author", Project: agentsProject,
				Config: entry("path/to/author", "{ci_job: {}}", own) + "  - id: path/to/two-agents\n    access_as: {ci_job: {}}\n    " + own + "\n"},
			gitlabtest.Agent{ID: farAgent, Name: "far", Project: agentsProject, Config: entry("path/to/two-agents", "{ci_job: {}}")},
			gitlabtest.Agent{ID: strictAgent, Name: "strict", Project: agentsProject,
				Config: entry("path/to/strict", "{ci_job: {}}", `environments: ["prod*"]`)},
			gitlabtest.Agent{ID: closedAgent, Name: "closed", Project: agentsProject})
	})
})

// authors prepares GitLab and the cluster for the tests for CI authors, until the test ends.
func authors(t *testing.T) {
	t.Helper()
	if err := authorInstance(); err != nil {
		t.Fatal(err)
	}
	reconfigure(t, func(c *config.Configuration) {
		for _, id := range []int64{authorAgent, strictAgent, closedAgent} {
			c.Agents = append(c.Agents, config.Agent{ID: id})
		}
	})
	apply(t, authorRights)
	eventually.Succeeds(t, func() error {
		result := try(t, admin(t), "auth", "can-i", "list", "pods", "--namespace="+authorNamespace, "--as=anybody", "--as-group=gitlab:project:190")
		if !result.OK() {
			return errors.New("the rights are not effective yet")
		}
		return nil
	})
}

// authorJob is a job of path/to/author, unless j names another project, with the variables that GitLab, the runner and the
// job's author set. Those in more come last, so they win.
func authorJob(t *testing.T, j gitlabtest.Job, more ...string) job {
	t.Helper()
	if j.Project == 0 {
		j.Project = authorProject
	}
	env := append(gitlabVariables(t, j), "JOBGATE_URL="+site.API.URL, "JOBGATE_CA_FILE="+site.Plane.CAFile())
	running := runJob(t, j, append(env, more...)...)
	// The runner's docker executor makes the file readable and writable for every user.
	if err := os.Chmod(running.Kubeconfig, 0o666); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return running
}

// gitlabVariables are the variables of GitLab and the runner that jobs of other tests lack, and a PATH with jobgate.
func gitlabVariables(t *testing.T, j gitlabtest.Job) []string {
	t.Helper()
	programs := site.Binaries()
	ca := filepath.Join(t.TempDir(), "CI_SERVER_TLS_CA_FILE")
	if err := os.WriteFile(ca, site.GitLab.CACertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	path := strings.Join([]string{filepath.Dir(programs.Kubectl), filepath.Dir(programs.Jobgate), os.Getenv("PATH")}, ":")
	return []string{
		"PATH=" + path, "CI_API_V4_URL=" + site.GitLab.URL() + "/api/v4", "CI_SERVER_TLS_CA_FILE=" + ca,
		"CI_PROJECT_ID=" + strconv.FormatInt(j.Project, 10), "CI_PROJECT_PATH=" + authorPaths()[j.Project], "CI_PROJECT_ROOT_NAMESPACE=path",
		"CI_ENVIRONMENT_NAME=" + j.Environment, "CI_COMMIT_REF_NAME=main", "CI_COMMIT_REF_PROTECTED=true",
		"CI_PIPELINE_SOURCE=push", "TMPDIR=" + t.TempDir(),
	}
}

// shell runs a job's script. Its output must not show the token.
func (j job) shell(t *testing.T, script string) kubectl.Result {
	t.Helper()
	result, err := j.Script(t.Context(), script)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(result.Stdout+result.Stderr, j.Token[len(j.Token)-tokenTail:]) {
		t.Error("the job's log shows its token")
	}
	return result
}

// ciJob is a job as .gitlab-ci.yml has it.
type ciJob struct {
	Variables    map[string]string `json:"variables"`
	BeforeScript []string          `json:"before_script"`
}

// script is the job's before_script and script as a runner joins them.
func (c ciJob) script(lines ...string) string {
	return strings.Join(append(c.BeforeScript, lines...), "\n")
}

// hidden reads the hidden job from a CI file of the repository; inputs are those of a component.
func hidden(t *testing.T, file string, inputs map[string]string) ciJob {
	t.Helper()
	programs := site.Binaries()
	text, err := os.ReadFile(filepath.Join(programs.Repository, file))
	if err != nil {
		t.Fatal(err)
	}
	if header, body, found := bytes.Cut(text, []byte("\n---\n")); found {
		text = interpolate(t, header, body, inputs)
	}
	var jobs map[string]ciJob
	if err := yaml.UnmarshalStrict(text, &jobs); err != nil {
		t.Fatal(err)
	}
	name := hiddenJob
	if own, ok := inputs["job"]; ok {
		name = own
	}
	if len(jobs) != 1 || len(jobs[name].BeforeScript) == 0 {
		t.Fatalf("%s has %d jobs, and %s is none of them", file, len(jobs), name)
	}
	return jobs[name]
}

var inputBlock = regexp.MustCompile(`\$\[\[ *inputs\.([a-z_]+) *\]\]`)

// interpolate puts inputs into a component as GitLab does: into its text, before it is parsed as YAML
// (lib/gitlab/ci/config/interpolation/text_template.rb).
func interpolate(t *testing.T, header, body []byte, inputs map[string]string) []byte {
	t.Helper()
	var spec struct {
		Spec struct {
			Inputs map[string]struct {
				Default     *string `json:"default"`
				Description string  `json:"description"`
			} `json:"inputs"`
		} `json:"spec"`
	}
	if err := yaml.UnmarshalStrict(header, &spec); err != nil {
		t.Fatal(err)
	}
	for name := range inputs {
		if _, ok := spec.Spec.Inputs[name]; !ok {
			t.Fatalf("the component has no input %s", name)
		}
	}
	return inputBlock.ReplaceAllFunc(body, func(block []byte) []byte {
		name := string(inputBlock.FindSubmatch(block)[1])
		input, declared := spec.Spec.Inputs[name]
		value, given := inputs[name]
		switch {
		case given:
			return []byte(value)
		case !declared || input.Default == nil || input.Description == "":
			t.Errorf("the component's input %s is not declared, or has no default or description", name)
			return nil
		default:
			return []byte(*input.Default)
		}
	})
}

// elsewhere is the URL of a loopback port without a listener.
func elsewhere(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(site.API.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = u.Hostname() + ":1" // tcpmux, which no test serves
	return u.String()
}
