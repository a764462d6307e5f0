package gitlab_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestNew_ReadsTheAccessTokenAsAFilesLine(t *testing.T) {
	rows := []struct {
		name string
		file string
		has  bool
		bad  bool
	}{
		{name: "absent", file: ""},
		{name: "only a line end", file: "\n"},
		{name: "bare", file: accessToken, has: true},
		{name: "with a line end", file: accessToken + "\n", has: true},
		{name: "with a line end of Windows", file: accessToken + "\r\n", has: true},
		{name: "with a prefix of the administrator's", file: "acme:" + accessToken, has: true},
		{name: "blank behind it", file: accessToken + " ", bad: true},
		{name: "blank before it", file: "\t" + accessToken, bad: true},
		{name: "two lines", file: accessToken + "\nJOB-TOKEN: x", bad: true},
		{name: "byte order mark", file: "\ufeff" + accessToken, bad: true},
		{name: "no text", file: accessToken + "\x00", bad: true},
		{name: "not UTF-8", file: accessToken + "\xff", bad: true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c, err := gitlab.New(gitlab.Options{URL: "https://gitlab.example.com", AccessToken: row.file})
			if (err != nil) != row.bad {
				t.Fatalf("error is %v", err)
			}
			if row.bad {
				if strings.Contains(err.Error(), accessToken) {
					t.Error("the error repeats the token")
				}
				return
			}
			if c.HasAccessToken() != row.has {
				t.Errorf("client has an access token: %t, want %t", c.HasAccessToken(), row.has)
			}
			if (c.Access() != gitlab.Credential{}) != row.has {
				t.Errorf("credential is there: %t, want %t", !row.has, row.has)
			}
		})
	}
}

func TestCredential_AbsentAsksNothing(t *testing.T) {
	rows := []struct {
		name string
		ask  func(ctx context.Context, c *gitlab.Client) error
	}{
		{"allowed agents, empty token", func(ctx context.Context, c *gitlab.Client) error {
			_, err := c.AllowedAgents(ctx, "", gitlab.Login)
			return err
		}},
		{"current job, empty token", func(ctx context.Context, c *gitlab.Client) error {
			_, err := c.CurrentJob(ctx, "", gitlab.Login)
			return err
		}},
		{"branch, zero value", func(ctx context.Context, c *gitlab.Client) error {
			_, err := c.BranchProtected(ctx, gitlab.Credential{}, 150, "main")
			return err
		}},
		{"tag, no access token configured", func(ctx context.Context, c *gitlab.Client) error {
			_, err := c.TagProtected(ctx, c.Access(), 150, "v1.0")
			return err
		}},
		{"branches, empty token", func(ctx context.Context, c *gitlab.Client) error {
			_, err := c.BranchListed(ctx, "", 150, "main")
			return err
		}},
		{"environments, empty job token", func(ctx context.Context, c *gitlab.Client) error {
			_, err := c.EnvironmentName(ctx, gitlab.JobToken(""), 150, "prod")
			return err
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := gitlabtest.New(t, factsWorld())
			err := row.ask(t.Context(), newClient(t, s.URL(), nil))
			var unavailable *gitlab.UnavailableError
			if !errors.Is(err, gitlab.ErrNoCredential) || !errors.As(err, &unavailable) {
				t.Errorf("error is %v, want no credential", err)
			}
			if got := s.Calls(gitlabtest.AnyEndpoint); got != 0 {
				t.Errorf("GitLab was asked %d times", got)
			}
		})
	}
}

func TestCredential_IsNeverPrinted(t *testing.T) {
	credentials := map[string]gitlab.Credential{
		"JOB-TOKEN":     gitlab.JobToken(accessToken),
		"PRIVATE-TOKEN": newClient(t, "https://gitlab.example.com", func(o *gitlab.Options) { o.AccessToken = accessToken }).Access(),
	}
	for header, credential := range credentials {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			t.Run(header+" "+verb, func(t *testing.T) {
				text := fmt.Sprintf(verb, credential)
				if strings.Contains(text, accessToken) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", accessToken)) {
					t.Error("the secret is printed")
				}
				if !strings.Contains(text, header) {
					t.Errorf("printed as %q, which does not say of which header it is", text)
				}
			})
		}
	}
	if got := fmt.Sprint(gitlab.Credential{}); got != "no credential" {
		t.Errorf("zero value is printed as %q", got)
	}
}
