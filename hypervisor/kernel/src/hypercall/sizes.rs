//! Sizes of a call's parameters: the control word against the call's form.

use abi::call::Form;
use abi::{Call, CallInput, Status};
use address::PAGE_SIZE;

/// Sizes of a call's parameters, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sizes {
    /// Fixed input, where the list begins.
    pub(super) header: usize,
    /// All input.
    pub(super) input: usize,
    /// All output.
    pub(super) output: usize,
    /// One output element.
    pub(super) element_out: usize,
}

impl Sizes {
    /// Checks the control word against the call's form (HC-05, HC-06).
    pub(super) fn check(call: Call, control: CallInput) -> Result<Self, Status> {
        let signature = call.signature();
        let wrong = control.has_reserved_bits() || (control.is_fast() && !signature.fast);
        let (count, start) = (usize::from(control.count()), usize::from(control.start()));
        let variable = usize::from(control.variable_header()) * 8;
        let header = usize::from(signature.input);
        let (input, output, element_out, fits) = match signature.form {
            Form::Simple => (
                header,
                usize::from(signature.output),
                0,
                count == 0 && start == 0 && variable == 0,
            ),
            Form::Variable => (
                header + variable,
                usize::from(signature.output),
                0,
                count == 0 && start == 0,
            ),
            Form::Rep {
                element_in,
                element_out,
            } => {
                let element_out = usize::from(element_out);
                let input = header + count * usize::from(element_in);
                (
                    input,
                    count * element_out,
                    element_out,
                    count > 0 && start < count && variable == 0,
                )
            }
        };
        let page = PAGE_SIZE as usize;
        if wrong || !fits || input > page || output > page {
            return Err(Status::INVALID_HYPERCALL_INPUT);
        }
        Ok(Self {
            header,
            input,
            output,
            element_out,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(call: Call, control: CallInput) -> Option<Status> {
        Sizes::check(call, control).err()
    }

    #[test]
    fn hc_05_control_words_that_do_not_fit_the_call_are_refused() {
        let refused = Some(Status::INVALID_HYPERCALL_INPUT);
        let simple = CallInput::simple(0x40);
        assert_eq!(status(Call::CreatePartition, simple), None);
        assert_eq!(
            status(Call::CreatePartition, CallInput(simple.0 | 1 << 27)),
            refused
        );
        assert_eq!(
            status(Call::CreatePartition, CallInput::fast(0x40)),
            refused
        );
        assert_eq!(
            status(Call::CreatePartition, simple.with_variable_header(1)),
            refused
        );
        assert_eq!(
            status(Call::CreatePartition, CallInput::rep(0x40, 1, 0)),
            refused
        );
        assert_eq!(
            status(Call::InitializePartition, CallInput::fast(0x41)),
            None
        );
    }

    #[test]
    fn hc_06_repetition_counts_stay_in_their_page() {
        let refused = Some(Status::INVALID_HYPERCALL_INPUT);
        let map = |count, start| status(Call::MapGpaPages, CallInput::rep(0x4b, count, start));
        assert_eq!(map(0, 0), refused);
        assert_eq!(map(1, 1), refused);
        assert_eq!(map(509, 508), None);
        assert_eq!(map(510, 0), refused);
        assert_eq!(map(4095, 0), refused);
        assert_eq!(
            status(Call::UnmapGpaPages, CallInput::rep(0x4c, 4095, 4094)),
            None
        );
    }
}
