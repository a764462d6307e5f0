package process

import "testing"

func TestFreeAddress_IsGivenOnce(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		address, err := FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		if seen[address] {
			t.Fatalf("%s was given twice", address)
		}
		seen[address] = true
	}
}

// A port may be unused for a while, such as during a restart. No other process is given it even then.
func TestTakeBlock_IsGivenToOneProcess(t *testing.T) {
	var taken *portBlock
	for i := range portBlocks {
		block, err := takeBlock([]int{i})
		if err != nil {
			continue // another process has it
		}
		taken = block
		defer taken.claim.Close()
		if _, err := takeBlock([]int{i}); err == nil {
			t.Errorf("block %d was given twice", i)
		}
		break
	}
	if taken == nil {
		t.Fatal("every block is taken")
	}
}
