package install

import "path"

// Flags of kube-apiserver that make it ask jobgate, and the one that they replace, without dashes.
const (
	WebhookFileFlag    = "authentication-token-webhook-config-file"
	WebhookVersionFlag = "authentication-token-webhook-version"
	WebhookTTLFlag     = "authentication-token-webhook-cache-ttl"
	AuthorizersFlag    = "authorization-config"
	modeFlag           = "authorization-mode"
)

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

// APIServerFlags are the flags with which kube-apiserver finds jobgate, whose directory on the node is nodeDir.
//
// The version is set because kube-apiserver's default is v1beta1, and the time because its default of two minutes would delay
// every revocation. authorization-config replaces authorization-mode.
func APIServerFlags(nodeDir string) []Flag {
	return []Flag{
		{WebhookFileFlag, path.Join(nodeDir, AuthenticateFile)},
		{WebhookVersionFlag, "v1"},
		{WebhookTTLFlag, "10s"},
		{AuthorizersFlag, path.Join(nodeDir, AuthorizationFile)},
	}
}

// String is the flag as on a command line.
func (f Flag) String() string { return "--" + f.Name + "=" + f.Value }

// ServeArgs are the arguments of the jobgate that serves from the directory at nodeDir.
func ServeArgs(nodeDir string) []string {
	return []string{"serve", "--config=" + path.Join(nodeDir, ConfigFile), "--pki=" + path.Join(nodeDir, PKIDir)}
}
