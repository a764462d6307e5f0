// Package install knows what a cluster admin puts on a control plane so that its API servers ask jobgate: the files, the
// kube-apiserver flags and the steps, for each kind of control plane.
//
// It knows files and flags. It must not know how jobgate answers a review, and it talks to no cluster and to no GitLab.
package install

import "io/fs"

// Options are what the admin says. All are valid: they have been checked where they were read.
type Options struct {
	// Target is the kind of control plane, one of Targets.
	Target string
	// NodeDir is the absolute path at which the directory lies on a control-plane node.
	NodeDir string
	// Dir is the absolute path at which init writes the directory on this machine, for steps that are taken here (talos).
	Dir string
	// GitLabURL is the root of the GitLab instance.
	GitLabURL string
	// GitLabCA is a PEM bundle for it; empty where the system's certificates do.
	GitLabCA []byte
	// Agents stand for this cluster; at least one.
	Agents []Agent
	// Address and HealthAddress are jobgate's host:port, for reviews and for health.
	Address, HealthAddress string
	// Image is the container image, where the target runs one.
	Image string
	// Binary is the absolute path of the program on a node, where the target runs that.
	Binary string
	// Program is the absolute path of the program that runs init, which a step may put at Binary.
	Program string
	// Authorizers is the cluster's present AuthorizationConfiguration; empty where the API server has none.
	Authorizers []byte
	// ClusterConfiguration is the cluster's present one of kubeadm's; empty for a new cluster, and for other targets.
	ClusterConfiguration []byte
	// PKI is what a node needs of the directory's PKIDir, by name (certs.CAFile, ServingFile, ClientFile): nil until it is
	// issued. It has to be there for talos, whose nodes get files in no other way than inside the target's own, and is not
	// looked at otherwise.
	PKI map[string][]byte
}

// Agent is a GitLab agent that stands for this cluster.
type Agent struct {
	ID   int64
	Name string // path/to/project:agent-name, or empty
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
	// Text is a sentence that says what and why.
	Text string
	// Commands are what to type, one line each; none where there is nothing to type.
	Commands []string
}

// Deployment is what one target needs besides the files that all of them have, which are those of Common. A target that
// has to repeat one of those, as in a ConfigMap, takes its content from there.
type Deployment struct {
	// Files lie under DeployDir.
	Files []File
	// Steps begin when the directory lies at NodeDir on the node, and end when jobgate and the API server run with the
	// flags of APIServerFlags. What comes before (the directory's way to the node) and after (the check) is the same for
	// all targets and is not among them.
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
