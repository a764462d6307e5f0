package install

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	tokenFileFlag = "--gitlab-token-file"
	audienceFlag  = "--id-token-audience"
)

// admission checks which jobs the cluster admits: those of agents, and those of a grant.
func (in *Input) admission(s *Setup) {
	s.Options.Agents, s.Options.Grant = in.agents(), in.Grant
	g := &in.Grant
	hasGrant := len(g.Projects)+len(g.Groups) > 0
	switch {
	case hasGrant && g.Cluster == "":
		in.refuse("--cluster", "is required with --grant-project and --grant-group: jobs without an agent log in by the cluster's name")
		in.flagged["--agent"] = true // the grant is not in the configuration, which then asks for an agent
	case g.Cluster != "" && !hasGrant:
		in.refuse("--cluster", "needs --grant-project or --grant-group: without them no job may log in by this name")
	case g.Audience != "" && !hasGrant:
		in.refuse(audienceFlag, "needs --cluster, and --grant-project or --grant-group: a grant admits the jobs of ID tokens")
	case len(in.Agents) == 0 && !hasGrant:
		in.refuse("--agent", "at least one is required, the id of a GitLab agent that represents this cluster; "+
			"or give --cluster with --grant-project or --grant-group, which need no agent")
	}
	if g.Audience != "" && in.GitLabTokenFile == "" {
		in.refuse(tokenFileFlag, "is required with %s: jobgate asks GitLab with this access token whether the job still runs", audienceFlag)
	}
}

// tokenFile checks where the access token will be. A container sees only the folder on the node.
func (in *Input) tokenFile(s *Setup) {
	name, dir := in.GitLabTokenFile, s.Options.NodeDir
	switch {
	case name == "":
		return
	case !path.IsAbs(name) || path.Clean(name) != name || checkPlain("path", name, "/._-") != nil:
		in.refuse(tokenFileFlag, "%q must be an absolute path on the node with only letters, digits and /._-, as in %s", name, path.Join(dir, "gitlab-token"))
		return
	case s.target.User == "" && !strings.HasPrefix(name, dir+"/"):
		in.refuse(tokenFileFlag, "%q must be in %s: jobgate's container sees nothing else of the node", name, dir)
		return
	}
	s.Options.GitLabTokenFile = name
	how := "and let only jobgate's user read it"
	if s.target.Name == "talos" {
		how = "as one more entry of machine.files in the machine configuration without jobgate, with the permissions 0o440"
	}
	s.Notes = append(s.Notes, fmt.Sprintf("Before jobgate starts, put a GitLab access token with the scope read_api into %s on each "+
		"control-plane node, %s.", name, how))
}

func (in *Input) agents() []Agent {
	var agents []Agent
	for _, text := range in.Agents {
		digits, name, named := strings.Cut(text, "=")
		id, err := strconv.ParseInt(digits, 10, 64)
		switch {
		case err != nil || id < 1 || strconv.FormatInt(id, 10) != digits:
			in.refuse("--agent", "%q must begin with an id from 1 to 9223372036854775807, as in 4 or 4=path/to/project:name", text)
		case named && name == "":
			in.refuse("--agent", "%q has no name after the =", text)
		case slices.ContainsFunc(agents, func(a Agent) bool { return a.ID == id }):
			in.refuse("--agent", "%d is given twice", id)
		}
		agents = append(agents, Agent{ID: id, Name: name})
	}
	return agents
}
