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

// eachPage reads a list page after page, until read is done or there is no further page. It takes at most the client's
// timeout in all; every page is retried, limited and measured like any other request. The error is that of the page that
// failed, or wraps ErrNotFound where the list has more than maxPages pages.
func (c *Client) eachPage(ctx context.Context, r request, maxPages int, read func(*answer) (done bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for number := 1; number <= maxPages; number++ {
		p, err := get(ctx, c, r.page(number), func(a *answer) (page, error) {
			done, err := read(a)
			return page{done: done, more: a.more}, err
		})
		if err != nil || p.done || !p.more {
			return err
		}
	}
	return fmt.Errorf("list %s: %w among the first %d", r.endpoint, ErrNotFound, maxPages*perPage)
}

type page struct{ done, more bool }

// page is the request for one page of a list.
func (r request) page(number int) request {
	query := url.Values{"per_page": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(number)}}
	maps.Copy(query, r.query)
	r.query = query
	return r
}
