//! Answers that were given, so that a repeated request is answered and not repeated.

use std::collections::{HashMap, VecDeque};

use crate::message::ResponseBody;

/// Answers that are remembered, the newest.
const ANSWERS_MAX: usize = 256;

/// What is known of a request id.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// Never heard: to be carried out.
    No,
    /// Being carried out.
    Begun,
    /// Carried out, with this answer.
    Answered(Box<ResponseBody>),
}

/// The newest answers by request id.
#[derive(Debug, Default)]
pub struct Answers {
    by_id: HashMap<String, Option<ResponseBody>>,
    order: VecDeque<String>,
}

impl Answers {
    /// What is known of a request; when nothing is, it counts as begun from now on.
    pub fn begin(&mut self, request_id: &str) -> Known {
        match self.by_id.get(request_id) {
            Some(Some(answer)) => return Known::Answered(Box::new(answer.clone())),
            Some(None) => return Known::Begun,
            None => {}
        }
        if self.order.len() == ANSWERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.order.push_back(request_id.into());
        self.by_id.insert(request_id.into(), None);
        Known::No
    }

    /// Keeps the answer to a request that was begun.
    pub fn finish(&mut self, answer: &ResponseBody) {
        if let Some(place) = self.by_id.get_mut(&answer.request_id) {
            *place = Some(answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Outcome;

    fn answer(id: &str) -> ResponseBody {
        ResponseBody {
            schema: String::new(),
            session: String::new(),
            request_id: id.into(),
            verb: "trigger".into(),
            outcome: Outcome::Done,
            code: None,
            text: "done".into(),
            data: serde_json::Map::new(),
        }
    }

    #[test]
    fn a_request_is_begun_once_and_its_answer_kept() {
        let mut answers = Answers::default();
        assert_eq!(answers.begin("a"), Known::No);
        assert_eq!(answers.begin("a"), Known::Begun);
        answers.finish(&answer("a"));
        assert_eq!(answers.begin("a"), Known::Answered(Box::new(answer("a"))));
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let mut answers = Answers::default();
        for index in 0..=ANSWERS_MAX {
            assert_eq!(answers.begin(&index.to_string()), Known::No);
        }
        assert_eq!((answers.by_id.len(), answers.order.len()), (ANSWERS_MAX, ANSWERS_MAX));
        assert_eq!(answers.begin("1"), Known::Begun);
        assert_eq!(answers.begin("0"), Known::No);
    }
}
