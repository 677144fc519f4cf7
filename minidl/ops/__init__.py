"""Operations, one file a family: definition, hand-written passes and public function side by side."""
