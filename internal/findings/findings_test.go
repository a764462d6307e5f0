package findings_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/findings"
)

func TestList_Text(t *testing.T) {
	r := &findings.List{
		State: findings.Failure,
		Findings: []findings.Finding{
			{Name: "variables", State: findings.OK, What: "all there"},
			{Name: "gitlab", State: findings.Warning, What: "slow", Do: "wait"},
			{Name: "agent", State: findings.Failure, What: "not listed", Do: "list it", Details: []string{"one", "two"}},
			{Name: "rights", State: findings.NotChecked, What: "not checked: no agent"},
		},
	}
	const signs = "✓  variables  all there\n" +
		"!  gitlab     slow\n" +
		"                do: wait\n" +
		"✗  agent      not listed\n" +
		"                one\n" +
		"                two\n" +
		"                do: list it\n" +
		"-  rights     not checked: no agent\n" +
		"\n1 failed, 1 with a warning, 1 not checked\n"
	words := strings.NewReplacer(
		"✓  ", "ok       ", "!  ", "warning  ", "✗  ", "failed   ", "-  ", "-        ", "                ", "                      ",
	).Replace(signs)
	for withSigns, want := range map[bool]string{true: signs, false: words} {
		var got bytes.Buffer
		if err := r.WriteText(&got, withSigns); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.String()); diff != "" {
			t.Errorf("with signs %t (-want +got):\n%s", withSigns, diff)
		}
	}
	var warning bytes.Buffer
	r = &findings.List{State: findings.Warning, Findings: r.Findings[:2]}
	if err := r.WriteText(&warning, false); err != nil || !strings.HasSuffix(warning.String(), "\nnothing has failed; 1 with a warning, 0 not checked\n") {
		t.Errorf("with a warning: %q, %v", warning.String(), err)
	}
	var well bytes.Buffer
	if err := (&findings.List{State: findings.OK}).WriteText(&well, false); err != nil || well.String() != "\nall is well\n" {
		t.Errorf("without findings: %q, %v", well.String(), err)
	}
}
