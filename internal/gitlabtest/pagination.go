package gitlabtest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	defaultPerPage = 20
	maxPerPage     = 100
)

// paginated answers with the requested page and describes it in headers
// (lib/gitlab/pagination/offset_header_builder.rb). X-Next-Page and X-Prev-Page are empty at the ends.
func paginated[T any](c *call, items []T) (*response, error) {
	page, err := pageParameter(c, "page", 1)
	if err != nil {
		return nil, err
	}
	perPage, err := pageParameter(c, "per_page", defaultPerPage)
	if err != nil {
		return nil, err
	}
	perPage = min(perPage, maxPerPage)
	pages := max(1, (len(items)+perPage-1)/perPage)
	var onPage []T
	if page <= pages {
		begin := (page - 1) * perPage
		onPage = items[begin:min(begin+perPage, len(items))]
	}
	out := jsonResponse(http.StatusOK, append([]T{}, onPage...)) // [], not null
	out.header.Set("X-Page", strconv.Itoa(page))
	out.header.Set("X-Per-Page", strconv.Itoa(perPage))
	out.header.Set("X-Total", strconv.Itoa(len(items)))
	out.header.Set("X-Total-Pages", strconv.Itoa(pages))
	out.header.Set("X-Next-Page", pageNumber(page+1, pages))
	out.header.Set("X-Prev-Page", pageNumber(page-1, pages))
	out.header.Set("Link", c.pageLinks(page, perPage, pages))
	return out, nil
}

// pageParameter refuses what is not a whole number. A number below 1 counts as the default.
func pageParameter(c *call, name string, fallback int) (int, error) {
	text := c.r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, badParameter(name + " is invalid")
	}
	if number < 1 {
		return fallback, nil
	}
	return int(number), nil
}

func pageNumber(page, pages int) string {
	if page < 1 || page > pages {
		return ""
	}
	return strconv.Itoa(page)
}

func (c *call) pageLinks(page, perPage, pages int) string {
	var links []string
	add := func(relation string, number int) {
		query := url.Values{}
		for name, values := range c.r.URL.Query() {
			if name != "private_token" && name != "job_token" && name != "token" {
				query[name] = values
			}
		}
		query.Set("page", strconv.Itoa(number))
		query.Set("per_page", strconv.Itoa(perPage))
		host := strings.TrimSuffix(c.base, c.root)
		links = append(links, fmt.Sprintf(`<%s%s?%s>; rel="%s"`, host, c.r.URL.EscapedPath(), query.Encode(), relation))
	}
	if page > 1 && page <= pages {
		add("prev", page-1)
	}
	if page < pages {
		add("next", page+1)
	}
	add("first", 1)
	add("last", pages)
	return strings.Join(links, ", ")
}
