package install_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/jobgate/jobgate/internal/install"
)

// Whatever the file: it is refused with a reason, or it keeps every line and the API server takes it with jobgate in it.
func FuzzMergeAuthorizers(f *testing.F) {
	list := header + "authorizers:\n"
	for _, seed := range []string{
		list + node + rbac, list + webhookItem("a") + rbac, list + scalarItem("jobgate") + rbac, list + indent(node+jobgateItem),
		"# top\n" + list + "-\n  type: Node\n  name: node\n# end\n", "authorizers: &a\n" + rbac + header, "authorizers: !!seq\n" + rbac + header,
		list + "- {type: RBAC, name: rbac}\r\n", "--- # x\n" + list + "- &x\n  type: RBAC\n  name: rbac\n...\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, existing []byte) {
		merged, err := install.MergeAuthorizers(existing, []byte(own))
		var refused *install.AuthorizersError
		if errors.As(err, &refused) {
			return
		}
		if err != nil {
			t.Fatalf("the error is of another type: %v", err)
		}
		if err := install.CheckAuthorizers(merged); err != nil {
			t.Fatalf("%v:\n%s", err, merged)
		}
		if lost := install.LostAuthorizers(existing, merged); len(lost) > 0 {
			t.Fatalf("%v are lost:\n%s", lost, merged)
		}
		again, err := install.MergeAuthorizers(merged, []byte(own))
		if err != nil || !bytes.Equal(again, merged) {
			t.Fatalf("the second time (%v):\n%s", err, again)
		}
	})
}
