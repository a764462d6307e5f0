package gitlab

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"strconv"
)

// perPage is the most that GitLab puts on a page (lib/api/pagination_params.rb).
const perPage = 100

// lookThrough reads a list, page after page, until pick has found what it wants. It takes at most the client's timeout
// in all; every page is retried, limited and measured like any other request.
//
// The error is that of the page that failed, or wraps ErrNotFound when the list, or maxPages of it, has been read.
func lookThrough[T any](
	ctx context.Context, c *Client, r request, maxPages int, pick func(body []byte) (found *T, err error),
) (*T, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	type page struct {
		found *T
		more  bool
	}
	read := func(a answer) (page, error) {
		found, err := pick(a.body)
		return page{found: found, more: a.more}, err
	}
	for number := 1; number <= maxPages; number++ {
		numbered := r
		numbered.query = url.Values{"per_page": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(number)}}
		maps.Copy(numbered.query, r.query)
		p, err := get(ctx, c, numbered, read)
		if err != nil || p.found != nil {
			return p.found, err
		}
		if !p.more {
			return nil, fmt.Errorf("list %s: %w", r.endpoint, ErrNotFound)
		}
	}
	return nil, fmt.Errorf("list %s: %w among the first %d", r.endpoint, ErrNotFound, maxPages*perPage)
}
