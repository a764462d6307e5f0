package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jobgate/jobgate/internal/daemon"
	"github.com/jobgate/jobgate/internal/findings"
	"github.com/jobgate/jobgate/internal/gitlab"
)

func (e *examination) checkGitLab(ctx context.Context) findings.Finding {
	f := findings.Finding{Name: "gitlab"}
	if e.config == nil {
		return f.NotChecked(whyNoConfig)
	}
	c, err := daemon.GitLab(e.config, e.UserAgent, nil)
	if err != nil {
		return f.Failed(err.Error(), "correct gitlab in the configuration")
	}
	defer c.Close()
	url := e.config.GitLab.URL
	release, err := c.Version(ctx)
	if err != nil && c.CanAsk() {
		// GitLab answers a token of another scope in words that a gateway could use, too.
		if _, asked := c.AccessToken(ctx); asked == nil {
			release, err = "", nil
		}
	}
	switch {
	case err != nil:
		return f.Failed(fmt.Sprintf("%s does not answer as GitLab does: %v", url, err),
			"check gitlab.url, gitlab.caFile, and that this node reaches GitLab: name resolution, firewall, proxy")
	case release == "":
		f.What = url + " is GitLab; it tells its version only to an access token"
	default:
		f.What = fmt.Sprintf("%s is GitLab %s", url, release)
	}
	f.State = findings.OK
	return f
}

func (e *examination) checkAccessToken(ctx context.Context) findings.Finding {
	f := findings.Finding{Name: "access-token"}
	if e.config == nil {
		return f.NotChecked(whyNoConfig)
	}
	if e.config.GitLab.TokenFile == "" {
		return f.Well("there is none: jobgate asks with the jobs' own tokens alone")
	}
	c, err := daemon.GitLab(e.config, e.UserAgent, nil)
	if err != nil {
		return f.Failed(err.Error(), "correct gitlab.tokenFile")
	}
	defer c.Close()
	token, err := c.AccessToken(ctx)
	const makeOne = "make an access token with the scope read_api in GitLab, and put it into "
	switch {
	case errors.Is(err, gitlab.ErrNotAnAccessToken):
		return f.Failed(err.Error(), makeOne+e.config.GitLab.TokenFile)
	case err != nil:
		return f.Failed("GitLab cannot be asked about it: "+err.Error(), "see the finding gitlab")
	case !token.ReadsAPI():
		return f.Failed(fmt.Sprintf("the token has the scopes %s, and not read_api", strings.Join(token.Scopes, ", ")),
			makeOne+e.config.GitLab.TokenFile)
	}
	f.State, f.What = findings.OK, "GitLab accepts it, with the scopes "+strings.Join(token.Scopes, ", ")
	if token.Expires != "" {
		f.What += "; it expires on " + token.Expires
	}
	return f
}
