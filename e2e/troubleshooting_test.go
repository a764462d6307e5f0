package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/kubectl"
)

// docs/troubleshooting.md shows messages in blocks of code, a message on each line. The word after text, which no
// reader sees, says what a block shows:
//
//   - kubectl: what kubectl prints
//   - log: what jobgate logs as the message, reason or err of a line
//   - init: what jobgate init finds wrong with its input
//   - any other: what can replace a <word> of the same name in another block; several joined by "; "
//
// Other words in angle brackets match anything; after a quote, anything but a quote; a word in numbers, a number.
const troubleshootingPage = "../docs/troubleshooting.md"

const (
	kubectlBlock = "kubectl"
	logBlock     = "log"
	initBlock    = "init"
)

var (
	blockStart  = regexp.MustCompile("^```(?:text|yaml) ([a-z]+)$")
	blockEnd    = regexp.MustCompile("^```$")
	placeholder = regexp.MustCompile(`<[a-z ]+>`)
	numbers     = []string{"job", "project", "id", "status", "count"}
	kubectlLog  = regexp.MustCompile(`(?m)^E\d{4} .*\n`) // client-go's own lines among kubectl's
)

// page is docs/troubleshooting.md.
type page struct {
	blocks map[string][]string // the messages by the kind of their block
	forms  map[string][]messageForm
}

// messageForm matches a message of one line of a block. What replaces a word that has a block is captured, and is matched by
// itself: one expression for all of it would be too large. A word ends as early as it can, so that a colon ends it.
type messageForm struct {
	message *regexp.Regexp
	words   []string // of the captures
}

var readPage = sync.OnceValues(func() (*page, error) {
	text, err := os.ReadFile(troubleshootingPage)
	if err != nil {
		return nil, err
	}
	p, block := &page{blocks: map[string][]string{}, forms: map[string][]messageForm{}}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if start := blockStart.FindStringSubmatch(line); start != nil {
			block = start[1]
		} else if blockEnd.MatchString(line) {
			block = ""
		} else if block != "" {
			p.blocks[block] = append(p.blocks[block], line)
		}
	}
	for block, lines := range p.blocks {
		for _, line := range lines {
			p.forms[block] = append(p.forms[block], p.form(line))
		}
	}
	return p, nil
})

func (p *page) form(line string) messageForm {
	var expression strings.Builder
	var words []string
	at := 0
	for _, place := range placeholder.FindAllStringIndex(line, -1) {
		word := line[place[0]+1 : place[1]-1]
		filling, hasBlock := p.filling(word, strings.HasSuffix(line[:place[0]], `"`))
		if hasBlock {
			words = append(words, word)
		}
		expression.WriteString(regexp.QuoteMeta(line[at:place[0]]) + filling)
		at = place[1]
	}
	expression.WriteString(regexp.QuoteMeta(line[at:]))
	return messageForm{message: regexp.MustCompile(`\A` + expression.String() + `\z`), words: words}
}

// filling matches what can replace a word.
func (p *page) filling(word string, quoted bool) (expression string, hasBlock bool) {
	switch {
	case word == "agent":
		return `agent [0-9]+(?: \([^()]*\))?`, false
	case slices.Contains(numbers, word):
		return "[0-9]+", false
	case len(p.blocks[word]) > 0:
		return "(.+?)", true
	case quoted:
		return `[^"]*`, false
	default:
		return ".+?", false
	}
}

// shows says whether the page has the message in a block.
func (p *page) shows(message, block string) bool {
	return slices.ContainsFunc(p.forms[block], func(f messageForm) bool {
		captured := f.message.FindStringSubmatch(message)
		if captured == nil {
			return false
		}
		for i, word := range f.words {
			if !p.showsSeveral(captured[i+1], word) {
				return false
			}
		}
		return true
	})
}

// showsSeveral takes one message of a block, or several that are joined.
func (p *page) showsSeveral(messages, block string) bool {
	if p.shows(messages, block) {
		return true
	}
	const joint = "; "
	for at := range messages {
		if strings.HasPrefix(messages[at:], joint) && p.shows(messages[:at], block) && p.showsSeveral(messages[at+len(joint):], block) {
			return true
		}
	}
	return false
}

// wantExplained fails unless the page shows what kubectl printed.
func wantExplained(t *testing.T, result kubectl.Result) {
	t.Helper()
	p := pageFor(t)
	printed := kubectlLog.ReplaceAllString(result.Stderr, "")
	if strings.TrimSpace(printed) == "" {
		printed = result.Stdout
	}
	for line := range strings.Lines(printed) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if !p.shows(line, kubectlBlock) {
			t.Errorf("%s does not show what kubectl printed: %s", troubleshootingPage, line)
		}
	}
}

// What kubectl prints when it does not reach the API server, or does not trust it, is on the page.
func TestTroubleshooting_ShowsWhyKubectlCannotConnect(t *testing.T) {
	authors(t)
	point := func(server string, flags ...string) []string {
		return append([]string{"config", "set-cluster", "gitlab", "--server=" + server}, flags...)
	}
	rows := []struct {
		name  string
		setUp [][]string
		words string
	}{
		{name: "no CA", setUp: [][]string{point(site.API.URL), {"config", "use-context", authorContext}}, words: "unknown authority"},
		{name: "another name", words: "is valid for", setUp: [][]string{
			point(site.API.URL, "--certificate-authority="+site.Plane.CAFile(), "--tls-server-name=another.example.com"), {"config", "use-context", authorContext},
		}},
		{name: "no listener", setUp: [][]string{point(elsewhere(t)), {"config", "use-context", authorContext}}, words: "was refused"},
		{name: "no context", words: "localhost:8080 was refused"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			j := authorJob(t, gitlabtest.Job{Environment: authorEnvironment})
			for _, args := range row.setUp {
				succeed(t, j.Workspace, args...)
			}
			result := try(t, j.Workspace, "get", "pods")
			if result.OK() || !strings.Contains(result.Stderr, row.words) {
				t.Fatalf("want a failure with %q: %s", row.words, result)
			}
			wantExplained(t, result)
		})
	}
}

// A page that matches any text would prove nothing.
func TestTroubleshooting_PageShowsMessagesAndNotJustAnything(t *testing.T) {
	p := pageFor(t)
	const ended = "jobgate: job 1 of project 2 has ended, and its token is no longer valid; start the job again"
	const frame = `Error from server (Forbidden): configmaps is forbidden: User "u" cannot list resource "configmaps" ` +
		`in API group "" in the namespace "shop": `
	tests := []struct {
		name, message string
		want          bool
	}{
		{"a denial", frame + ended, true},
		{"a denial by RBAC", strings.TrimSuffix(frame, ": "), true},
		{"a denial in other words that end with a quote", frame + `jobgate: the job's is "staging"`, false},
		{"a denial in other words", frame + "jobgate: job 1 of project 2 is over", false},
		{"a denial with more words", frame + ended + ", sorry", false},
		{"something else altogether", "Error from server (NotFound): the server could not find the requested resource", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := p.shows(test.message, kubectlBlock); got != test.want {
				t.Errorf("the page shows %q: %t, want %t", test.message, got, test.want)
			}
		})
	}
}

// loggedMessages are the log lines about refusals, each with the key of its reason.
var loggedMessages = map[string]string{
	"Token rejected":                       "message",
	"Request denied":                       "message",
	"Job logged in with a denied identity": "message",
	"Token could not be checked":           "message",

	"Certificates could not be renewed, those in use stay":      "err",
	"Certificate files refused, the last good ones stay in use": "err",
}

// sweepForUnexplained fails if one of the run's jobgates has logged a refusal that the page does not show.
func sweepForUnexplained() error {
	p, err := readPage()
	if err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(site.Dir, "jobgate*.log"))
	if err != nil {
		return err
	}
	missing := map[string]bool{}
	for _, log := range logs {
		if err := unexplained(p, log, missing); err != nil {
			return err
		}
	}
	var errs []error
	for message, isMissing := range missing {
		if !isMissing {
			continue
		}
		errs = append(errs, fmt.Errorf("%s does not show what jobgate logged: %s", troubleshootingPage, message))
	}
	return errors.Join(errs...)
}

func unexplained(p *page, log string, missing map[string]bool) error {
	text, err := os.ReadFile(log)
	if err != nil {
		return fmt.Errorf("read jobgate's log: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil {
			continue // the race detector and the like write other lines
		}
		kind, _ := fields["msg"].(string)
		message, ok := fields[loggedMessages[kind]].(string)
		if _, known := missing[message]; known || !ok {
			continue
		}
		missing[message] = !p.shows(message, logBlock)
	}
	return nil
}

// The page's example of a configuration with mistakes is what jobgate says of it.
func TestTroubleshooting_ConfigurationProblemsAreWhatJobgateSays(t *testing.T) {
	p := pageFor(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(p.blocks["mistakes"], "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(file)
	if err == nil {
		t.Fatal("jobgate accepts the example")
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), filepath.Dir(file)+"/", ""), "\n")
	if diff := cmp.Diff(p.blocks["problems"], got); diff != "" {
		t.Errorf("the problems on the page (-) and what jobgate says (+):\n%s", diff)
	}
}

// kube-apiserver logs the reason of a refused token in the words of the page.
func TestTroubleshooting_APIServerLogsWhyATokenWasRefused(t *testing.T) {
	j := presenting(t, elsewhereAgent, gitlabtest.Job{})
	wantUnauthorized(t, j.Workspace)
	reason := regexp.MustCompile(`"Unable to authenticate the request" err="\[invalid bearer token, (agent 12 .*)\]"`)
	eventually.Succeeds(t, func() error {
		log, err := os.ReadFile(site.API.LogFile())
		if err != nil {
			return err
		}
		logged := reason.FindSubmatch(log)
		if logged == nil {
			return errors.New("the API server has not logged the refusal yet")
		}
		if !pageFor(t).shows(string(logged[1]), logBlock) {
			t.Errorf("%s does not show what kube-apiserver logged: %s", troubleshootingPage, logged[1])
		}
		return nil
	})
}

func pageFor(t *testing.T) *page {
	t.Helper()
	p, err := readPage()
	if err != nil {
		t.Fatal(err)
	}
	return p
}
