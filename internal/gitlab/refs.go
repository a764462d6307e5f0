package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/jobgate/jobgate/internal/job"
)

// The endpoints about refs (lib/api/branches.rb, lib/api/tags.rb). A single branch or tag takes no job token. The lists
// do from GitLab 19 on; older releases answer 404.
const (
	branchPath   = "api/v4/projects/:id/repository/branches/:branch"
	branchesPath = "api/v4/projects/:id/repository/branches"
	tagPath      = "api/v4/projects/:id/repository/tags/:tag"
	tagsPath     = "api/v4/projects/:id/repository/tags"
)

// maxRefPages bounds the search in a list. The list is sorted by name, so the ref sought is on the first page but for odd
// names. Together with one question about a single ref it makes five calls.
const maxRefPages = 4

// refKind is what differs between branches and tags.
type refKind struct {
	single, list string
	missing      string // not_found!('Branch'), told from the 404 for a project that may not be seen
	why          string // the hint where the job token may not read them
}

var refKinds = map[job.RefType]refKind{
	job.Branch: {single: branchPath, list: branchesPath, missing: "404 Branch Not Found", why: whyBranches},
	job.Tag:    {single: tagPath, list: tagsPath, missing: "404 Tag Not Found", why: whyTags},
}

// refKey names what the jobs of a project share.
type refKey struct {
	project int64
	kind    job.RefType
	name    string
}

// RefProtected implements job.FactSource: it says whether a rule for protected branches or tags, by name or by wildcard,
// covers the ref now. The jobs of a project share the answer for a minute.
func (c *Client) RefProtected(ctx context.Context, token string, j *job.Job) (bool, error) {
	kind, ok := refKinds[j.Ref.Type]
	if !ok || j.Ref.MergeRequest {
		return false, &job.UnlearnableError{Why: "the job does not run for a branch or a tag"}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	key := refKey{project: j.ProjectID, kind: j.Ref.Type, name: j.Ref.Name}
	protected, err := c.protections.get(ctx, key, anyValue, func(ctx context.Context) (bool, error) {
		return c.askRef(ctx, token, key, kind)
	})
	if errors.Is(err, ErrNotFound) {
		return false, &job.UnlearnableError{Why: fmt.Sprintf("the %s %.64q does not exist any more", key.kind, key.name), Err: err}
	}
	return protected, err
}

// askRef prefers the access token, which needs one call in every release of GitLab.
func (c *Client) askRef(ctx context.Context, token string, key refKey, kind refKind) (bool, error) {
	if err := checkName(string(key.kind), key.name); err != nil {
		return false, err
	}
	why := kind.why
	if c.CanAsk() {
		protected, err := c.askSingleRef(ctx, key, kind)
		if !isRefused(err) {
			return protected, err
		}
		why = whyAccess
		if token == "" {
			return false, asFactError(err, why)
		}
	}
	protected, err := c.askRefList(ctx, token, key, kind)
	return protected, asFactError(err, why)
}

func (c *Client) askSingleRef(ctx context.Context, key refKey, kind refKind) (bool, error) {
	r := request{
		endpoint:   kind.single,
		values:     []string{strconv.FormatInt(key.project, 10), key.name},
		credential: c.access,
		queue:      facts,
		missing:    []string{kind.missing},
	}
	return get(ctx, c, r, func(a *answer) (bool, error) {
		var one ref
		if err := a.decode(string(key.kind), &one); err != nil {
			return false, err
		}
		if one.Name != key.name {
			return false, fmt.Errorf("%w: it is about another ref", ErrIncompleteReply)
		}
		return one.protected()
	})
}

func (c *Client) askRefList(ctx context.Context, token string, key refKey, kind refKind) (bool, error) {
	r := request{
		endpoint:   kind.list,
		values:     []string{strconv.FormatInt(key.project, 10)},
		query:      url.Values{"search": {startingWith(key.name)}},
		credential: jobToken(token),
		queue:      facts,
	}
	var found *ref
	err := c.eachPage(ctx, r, maxRefPages, func(a *answer) (done bool, err error) {
		var page []ref
		if err := a.decode("refs", &page); err != nil {
			return false, err
		}
		if page == nil {
			return false, fmt.Errorf("%w: no list of refs", ErrIncompleteReply)
		}
		for i := range page {
			if page[i].Name == key.name {
				found = &page[i]
				_, err := found.protected()
				return true, err
			}
		}
		return false, nil
	})
	if err != nil {
		return false, err
	}
	if found == nil {
		return false, fmt.Errorf("list %s: %w", r.endpoint, ErrNotFound)
	}
	return found.protected()
}

// startingWith is the search for the refs whose name begins so, in any case. Only ^ works in every release
// (app/finders/git_refs_finder.rb): with a $ behind it, some look for the exact name and others for a name with a dollar.
// Of a name with an operator in it, what stands before is searched for; Git allows a ref no operator but the dollar.
func startingWith(name string) string {
	if i := strings.IndexAny(name, "^$*"); i >= 0 {
		name = name[:i]
	}
	return "^" + name
}

// ref is what is read of a branch (lib/api/entities/branch.rb) and of a tag (lib/api/entities/tag.rb).
type ref struct {
	Name string `json:"name"`
	// Protected is nil where GitLab is too old to say.
	Protected *bool `json:"protected"`
}

func (r ref) protected() (bool, error) {
	if r.Protected == nil {
		return false, fmt.Errorf("%w: not said whether the ref is protected", ErrIncompleteReply)
	}
	return *r.Protected, nil
}
