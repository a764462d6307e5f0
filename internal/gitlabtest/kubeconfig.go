package gitlabtest

import (
	"errors"
	"fmt"
	"strconv"

	"sigs.k8s.io/yaml"
)

// ErrNoKubeconfig says that GitLab would set no KUBECONFIG for the job: no agent is open to it.
var ErrNoKubeconfig = errors.New("no agent is open to the job")

// kubeconfig is the file that GitLab puts into jobs (lib/gitlab/kubernetes/kubeconfig/template.rb). It selects no
// context.
type kubeconfig struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Clusters   []namedCluster `json:"clusters"`
	Users      []namedUser    `json:"users"`
	Contexts   []namedContext `json:"contexts"`
}

type namedCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
	} `json:"cluster"`
}

type namedUser struct {
	Name string `json:"name"`
	User struct {
		Token string `json:"token"`
	} `json:"user"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster   string `json:"cluster"`
		Namespace string `json:"namespace,omitempty"`
		User      string `json:"user"`
	} `json:"context"`
}

// Kubeconfig is the KUBECONFIG of the job with the cluster at tunnelURL (Ci::GenerateKubeconfigService): a context
// <agent's project>:<agent> for each agent that the lookup would list now. The error is ErrNoKubeconfig when there is
// none.
func (s *Server) Kubeconfig(jobID int64, tunnelURL string) ([]byte, error) {
	st := s.state.Load()
	job := st.jobs[jobID]
	if job == nil {
		return nil, fmt.Errorf("job %d: %w", jobID, ErrNoJob)
	}
	agents, err := st.allowed(st.authorizations(st.projects[job.Project]), st.facts(job))
	if err != nil {
		return nil, fmt.Errorf("filtering the agents of job %d: %w", jobID, err)
	}
	if len(agents) == 0 {
		return nil, fmt.Errorf("job %d: %w", jobID, ErrNoKubeconfig)
	}
	const cluster = "gitlab"
	config := kubeconfig{APIVersion: "v1", Kind: "Config", Clusters: []namedCluster{{Name: cluster}}}
	config.Clusters[0].Cluster.Server = tunnelURL
	for _, a := range agents {
		id := strconv.FormatInt(a.agent.ID, 10)
		user := namedUser{Name: "agent:" + id}
		user.User.Token = "ci:" + id + ":" + job.Token
		entry := namedContext{Name: st.projects[a.agent.Project].Path + ":" + a.agent.Name}
		entry.Context.Cluster, entry.Context.User = cluster, user.Name
		entry.Context.Namespace = a.defaultNamespace()
		config.Users, config.Contexts = append(config.Users, user), append(config.Contexts, entry)
	}
	document, err := yaml.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return append([]byte("---\n"), document...), nil
}

// ErrNoJob says that there is no job with the id.
var ErrNoJob = errors.New("no such job")

func (a authorization) defaultNamespace() string {
	if a.entry == nil {
		return ""
	}
	namespace, _ := a.entry.config["default_namespace"].(string)
	return namespace
}
