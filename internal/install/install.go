// Package install makes what a control plane needs so that its API servers ask jobgate: files, kube-apiserver's flags and steps
// for the admin, for each kind of control plane.
//
// It knows files and flags, and reads the control plane that is there. It must not know how jobgate answers a review; it changes
// nothing in a cluster, and does not talk to GitLab.
package install

import "io/fs"

// Options are the admin's choices. All are valid: Input checks them.
type Options struct {
	// Target is the kind of control plane, one of Targets.
	Target string
	// NodeDir is the absolute path of the directory on a control-plane node.
	NodeDir string
	// Dir is the absolute path of the directory that init writes on this machine, for steps that run here (talos).
	Dir string
	// GitLabURL is the root of the GitLab instance.
	GitLabURL string
	// GitLabCA is a PEM bundle for it; empty for the system's certificates.
	GitLabCA []byte
	// Agents represent this cluster. There are agents, or there is a grant.
	Agents []Agent
	// Grant admits jobs without an agent; the zero value for none.
	Grant Grant
	// GitLabTokenFile is where the access token will be on the node, absolute; empty for none.
	GitLabTokenFile string
	// Address and HealthAddress are jobgate's host:port, for reviews and for health.
	Address, HealthAddress string
	// Second says that two instances share Address, so that one answers while the other one restarts.
	Second bool
	// DecisionLog says that jobgate appends every decision to DecisionFile, too.
	DecisionLog bool
	// Image is the container image, if the target runs one.
	Image string
	// Binary is the absolute path of the program on a node, if the target runs it.
	Binary string
	// Program is the absolute path of the program that runs init, which a step may put at Binary.
	Program string
	// Authorizers is the cluster's present AuthorizationConfiguration; empty if it has none.
	Authorizers []byte
	// ClusterConfiguration is the cluster's present one; empty for a new cluster, and for targets other than kubeadm.
	ClusterConfiguration []byte
	// PKI has the files of PKIDir that a node needs, by name (certs.CAFile, ServingFile, ClientFile). Only talos uses it, because
	// its nodes get all files in a patch.
	PKI map[string][]byte
}

// Agent is a GitLab agent that represents this cluster.
type Agent struct {
	ID   int64
	Name string // path/to/project:agent-name, or empty
}

// Grant is what init asks about a cluster that admits jobs by itself.
type Grant struct {
	Cluster          string // the cluster's name
	Projects, Groups []int64
	Audience         string // of ID tokens; empty where the cluster takes none
}

// File is a file of the directory.
type File struct {
	// Path is relative to the directory, with slashes.
	Path    string
	Content []byte
	Mode    fs.FileMode
}

// Step is something for the admin to do, in order.
type Step struct {
	// Text says what to do, and why.
	Text string
	// Commands are the lines to type, if any.
	Commands []string
}

// Deployment is what one target needs besides Common.
type Deployment struct {
	// Files lie under DeployDir.
	Files []File
	// Steps begin when the node has the directory, and end when jobgate and the API server run with the flags of
	// APIServerFlags. The steps before and after are the same for all targets, and come from Setup.
	Steps []Step
}

// optionError says which flag of init has a value that cannot be used.
type optionError struct {
	flag string
	err  error
}

func (e *optionError) Error() string { return e.flag + ": " + e.err.Error() }

func (e *optionError) Unwrap() error { return e.err }

// Flag is a flag of kube-apiserver, without dashes.
type Flag struct{ Name, Value string }
