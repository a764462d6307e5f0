package doctor

import (
	"fmt"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/findings"
	"github.com/jobgate/jobgate/internal/policy"
)

// Bounds of a report: characters of a line and of a name in it, and numbers of names.
const (
	maxLine   = findings.MaxLine
	maxName   = 256
	maxShown  = 12
	maxGroups = 256
	maxExtras = 64
)

// minSecret is the length of the shortest secret that is redacted, in bytes. Shorter ones would hide ordinary words.
const minSecret = 8

// keepSecret remembers the secrets of a kubeconfig, whose tokens can differ from the job's own.
func (e *examination) keepSecret(config *clientcmdapi.Config) {
	for _, user := range config.AuthInfos {
		for _, secret := range []string{user.Token, user.Token[strings.LastIndexByte(user.Token, ':')+1:], user.Password} {
			if len(secret) >= minSecret {
				e.secrets = append(e.secrets, cijob.NewToken(secret))
			}
		}
	}
}

// redact removes every secret from a text.
func (e *examination) redact(text string) string {
	for _, secret := range e.secrets {
		text = secret.Redact(text)
	}
	return text
}

// quote shows a name from elsewhere. Secrets are removed first, so that cutting the name leaves no part of one.
func (e *examination) quote(name string) string { return fmt.Sprintf("%.*q", maxName, e.redact(name)) }

// line makes a text fit for the report. Secrets are removed first here, too.
func (e *examination) line(text string) string { return policy.Printable(e.redact(text), maxLine) }
