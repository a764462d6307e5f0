package install

import "path"

// Files of the directory that all targets have; slash-separated, relative to it.
const (
	ConfigFile        = "config.yaml"
	AuthenticateFile  = "authenticate.kubeconfig"
	AuthorizeFile     = "authorize.kubeconfig"
	AuthorizationFile = "authorization.yaml"
	GitLabCAFile      = "gitlab-ca.crt"
	PKIDir            = "pki"
	DeployDir         = "deploy"
)

// APIServerFlags are the flags by which a kube-apiserver finds jobgate, whose directory lies at nodeDir.
//
// The version is said because kube-apiserver's own default is v1beta1, and the time because its default of two minutes
// would come on top of every revocation. authorization-config takes the place of authorization-mode.
func APIServerFlags(nodeDir string) []Flag {
	return []Flag{
		{"authentication-token-webhook-config-file", path.Join(nodeDir, AuthenticateFile)},
		{"authentication-token-webhook-version", "v1"},
		{"authentication-token-webhook-cache-ttl", "10s"},
		{"authorization-config", path.Join(nodeDir, AuthorizationFile)},
	}
}

// String is the flag as on a command line.
func (f Flag) String() string { return "--" + f.Name + "=" + f.Value }

// ServeArgs are the arguments of the jobgate that serves from the directory at nodeDir.
func ServeArgs(nodeDir string) []string {
	return []string{"serve", "--config=" + path.Join(nodeDir, ConfigFile), "--pki=" + path.Join(nodeDir, PKIDir)}
}
