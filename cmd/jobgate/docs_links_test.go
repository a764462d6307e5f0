package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// Every relative link of the pages leads to a file that there is, and to a heading that it has.
func TestDocs_LinksResolve(t *testing.T) {
	pages, err := filepath.Glob(root + "docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	// A link in brackets and parentheses; images and titles are not used.
	link := regexp.MustCompile(`\]\(([^()\s]+)\)`)
	for _, page := range append(pages, root+"README.md", root+"CONTRIBUTING.md", root+"e2e/README.md") {
		for _, m := range link.FindAllStringSubmatch(prose(t, page), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: link to %s: %v", page, m[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(t, file), anchor) {
				t.Errorf("%s: link to %s: the page has no such heading", page, m[1])
			}
		}
	}
}

// anchors are what GitHub and GitLab call the headings of a page.
func anchors(t *testing.T, page string) []string {
	t.Helper()
	var all []string
	seen := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^#+ +(.+?) *$`).FindAllStringSubmatch(prose(t, page), -1) {
		text := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			default:
				return -1
			}
		}, m[1])
		if n := seen[text]; n > 0 {
			all = append(all, text+"-"+strconv.Itoa(n))
		} else {
			all = append(all, text)
		}
		seen[text]++
	}
	return all
}

func readPage(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fence is a block of code, with what stands behind its opening backquotes.
var fence = regexp.MustCompile("(?ms)^ *```([^\n`]*)\n(.*?)^ *```$")

// prose is a page without blocks of code, and with spans of code that look like no link.
func prose(t *testing.T, page string) string {
	t.Helper()
	return regexp.MustCompile("`[^`\n]*`").ReplaceAllStringFunc(fence.ReplaceAllString(readPage(t, page), ""), func(span string) string {
		return strings.Trim(regexp.MustCompile(`[\[\]()]`).ReplaceAllString(span, ""), "`")
	})
}
